use std::{error::Error, fmt};

/// An option of a [`CoalesceLayer`](crate::CoalesceLayer) that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCoalesce {
    option: &'static str,
    value: usize,
    most: usize,
}

impl InvalidCoalesce {
    /// Checks that a value is not zero and not more than `most`.
    pub(crate) fn check(option: &'static str, value: usize, most: usize) -> Result<usize, Self> {
        if (1..=most).contains(&value) {
            return Ok(value);
        }
        Err(Self {
            option,
            value,
            most,
        })
    }
}

impl fmt::Display for InvalidCoalesce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            option,
            value,
            most,
        } = self;
        write!(f, "{option} of {value} is not between 1 and {most}")
    }
}

impl Error for InvalidCoalesce {}
