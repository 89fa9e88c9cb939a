use std::error::Error;
use std::fmt;

/// Operations on strings: the business logic, which knows no tower and no HTTP.
pub trait StringService: Send + Sync + 'static {
    /// Makes `s` upper case.
    ///
    /// # Errors
    ///
    /// If `s` is empty.
    fn uppercase(&self, s: &str) -> Result<String, EmptyString>;

    /// Counts the bytes of `s`, as go-kit's `len(s)` does.
    fn count(&self, s: &str) -> usize;
}

/// The string service itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Strings;

impl StringService for Strings {
    fn uppercase(&self, s: &str) -> Result<String, EmptyString> {
        if s.is_empty() {
            return Err(EmptyString);
        }
        Ok(s.to_uppercase())
    }

    fn count(&self, s: &str) -> usize {
        s.len()
    }
}

/// There is nothing to make upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmptyString;

impl fmt::Display for EmptyString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("empty string")
    }
}

impl Error for EmptyString {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A1.7
    #[test]
    fn strings_are_made_upper_case_and_counted() {
        assert_eq!(Strings.uppercase("hello, world").unwrap(), "HELLO, WORLD");
        assert_eq!(Strings.count("hello, world"), 12);
        assert_eq!(Strings.count(""), 0);
    }

    /// A1.3
    #[test]
    fn an_empty_string_has_no_upper_case() {
        let error = Strings.uppercase("").unwrap_err();
        assert_eq!(error.to_string(), "empty string");
    }
}
