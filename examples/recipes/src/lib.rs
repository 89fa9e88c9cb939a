//! Small programs, one for each question about towerkit: see `src/bin`.
//!
//! `cargo run -p recipes --bin prometheus` runs one of them.
