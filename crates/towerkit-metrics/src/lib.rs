//! Metrics of the calls of a tower service.
