use std::{error::Error, fmt};

/// A cap of no traces at all, which is what an untrusted edge is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCap;

impl fmt::Display for InvalidCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cap of 0 traces a second")
    }
}

impl Error for InvalidCap {}
