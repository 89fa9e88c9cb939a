//! Another answer when a call fails: a value, a function, or another service.
