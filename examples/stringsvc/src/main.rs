//! go-kit's string service on towerkit.

fn main() {}
