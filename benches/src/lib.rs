//! Benchmarks of towerkit beside its peers.
