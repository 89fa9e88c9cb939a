//! What several crates must do together.

mod fuzz;
mod whole;
