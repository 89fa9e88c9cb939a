use std::{error::Error, fmt, iter::successors};

/// How a format spells a line.
pub(crate) trait Encode: Send + Sync + 'static {
    /// Before the first field.
    const START: &'static str;
    /// Between two fields.
    const COMMA: &'static str;
    /// Around a name, and around text that needs no escape.
    const QUOTE: &'static str;
    /// Between name and value.
    const COLON: &'static str;
    /// After the last field.
    const END: &'static str;

    /// Appends the name of a field, without quotes.
    fn name(out: &mut Vec<u8>, name: &str);

    /// Appends a value that is text.
    fn text(out: &mut Vec<u8>, text: &str);
}

/// An error with all its sources, outermost first.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// An error may name itself as its source.
        const MOST: usize = 16;
        write!(f, "{}", self.0)?;
        successors(self.0.source(), |&error| error.source())
            .take(MOST)
            .try_for_each(|source| write!(f, ": {source}"))
    }
}
