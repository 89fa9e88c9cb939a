use std::{
    any::Any,
    error::Error,
    fmt,
    fmt::Write,
    io,
    iter::successors,
    panic::{AssertUnwindSafe, catch_unwind},
};

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

/// Appends a value that is the same in every format: a number of at most 64 bits, or a boolean.
pub(crate) fn literal(out: &mut Vec<u8>, value: impl fmt::Display) {
    // Writing to memory cannot fail.
    let _ = io::Write::write_fmt(out, format_args!("{value}"));
}

/// Appends a float: the shortest number that reads back, or text where JSON has no number.
pub(crate) fn float<E: Encode>(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        let _ = io::Write::write_fmt(out, format_args!("{value:?}"));
    } else if value.is_nan() {
        E::text(out, "NaN");
    } else {
        E::text(out, if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
}

/// Writes what `value` shows of itself, in the place of what was there.
///
/// If it panics or fails, the error is shown instead, as go-logfmt does.
pub(crate) fn show(shown: &mut String, value: fmt::Arguments<'_>) {
    shown.clear();
    match catch_unwind(AssertUnwindSafe(|| shown.write_fmt(value))) {
        Ok(Ok(())) => {}
        Ok(Err(_)) => {
            shown.clear();
            shown.push_str("ERROR:the value could not be formatted");
        }
        Err(panic) => {
            shown.clear();
            shown.push_str("PANIC:");
            shown.push_str(message(&*panic));
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown")
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
