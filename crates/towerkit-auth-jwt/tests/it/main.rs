//! JSON Web Tokens: their verification, their keys, and those of clients.

mod allocations;
mod behaviour;
mod contract;
mod keys;
mod tokens;
