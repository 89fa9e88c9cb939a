//! Every concept of go-kit as a tower layer: the facade of the towerkit crates.
