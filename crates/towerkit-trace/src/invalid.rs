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

/// A field that is not shown on spans: its name is none, or says that its value is a secret.
#[cfg(feature = "opentelemetry")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    name: String,
    why: &'static str,
}

#[cfg(feature = "opentelemetry")]
impl InvalidField {
    pub(crate) fn no_name(name: String) -> Self {
        let why = "is no name of a field";
        Self { name, why }
    }

    pub(crate) fn credential(name: String) -> Self {
        let why = "may carry credentials";
        Self { name, why }
    }
}

#[cfg(feature = "opentelemetry")]
impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.name, self.why)
    }
}

#[cfg(feature = "opentelemetry")]
impl Error for InvalidField {}
