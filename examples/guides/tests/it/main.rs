//! What the guides say, held against what the code does.

mod all_three;
mod contract;
mod observability;
mod pages;
mod wrong_orders;
