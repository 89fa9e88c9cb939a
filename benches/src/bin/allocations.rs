//! Placeholder that is replaced soon.
fn main() {}
