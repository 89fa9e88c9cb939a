//! The programs, run as a user runs them.

mod demo;
#[cfg(unix)]
mod idle;
