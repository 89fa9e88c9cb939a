use std::{
    any::Any,
    fmt,
    fmt::Write,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{
    LengthLimits, Redaction,
    caps::{Capped, beginning},
    decimal::short_float,
    encode::Encode,
    sites::FIELDS,
};

/// What is done to values before they are written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) redaction: Redaction,
    pub(crate) caps: LengthLimits,
    /// Whether a field of calls is a secret, which it is only where it was asked for.
    pub(crate) hidden: [bool; FIELDS.len()],
}

/// Memory for values that cannot be written as they are.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// What a value shows of itself.
    shown: Capped,
    /// What is left of it without secrets.
    clean: String,
}

impl Scratch {
    pub(crate) const fn new() -> Self {
        Self {
            shown: Capped::new(),
            clean: String::new(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.shown.text.capacity().max(self.clean.capacity())
    }
}

impl Rules {
    pub(crate) fn redact(&mut self, redaction: Redaction) {
        self.hidden = FIELDS.map(|name| redaction.hides(name));
        self.redaction = redaction;
    }

    /// Appends a value that is text.
    pub(crate) fn text<E: Encode>(&self, out: &mut Vec<u8>, scratch: &mut Scratch, text: &str) {
        let kept = beginning(text, self.caps.value);
        self.cut::<E>(out, &mut scratch.clean, kept, text.len() - kept.len());
    }

    /// Appends what a value shows of itself; if it panics or fails, the error is shown instead, as go-logfmt does.
    pub(crate) fn shown<E: Encode>(
        &self,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
        value: fmt::Arguments<'_>,
    ) {
        let Scratch { shown, clean } = scratch;
        shown.start(self.caps.value);
        match catch_unwind(AssertUnwindSafe(|| shown.write_fmt(value))) {
            Ok(Ok(())) => {}
            // Writing to a string cannot fail, whatever comes of it.
            Ok(Err(_)) => {
                shown.start(self.caps.value);
                let _ = shown.write_str("ERROR:the value could not be formatted");
            }
            Err(panic) => {
                shown.start(self.caps.value);
                let _ = write!(shown, "PANIC:{}", message(&*panic));
            }
        }
        self.cut::<E>(out, clean, &shown.text, shown.over);
    }

    /// Appends bytes that should be UTF-8; what is not is replaced by U+FFFD.
    pub(crate) fn bytes<E: Encode>(&self, out: &mut Vec<u8>, scratch: &mut Scratch, bytes: &[u8]) {
        let Scratch { shown, clean } = scratch;
        shown.start(self.caps.value);
        for chunk in bytes.utf8_chunks() {
            let _ = shown.write_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                let _ = shown.write_char(char::REPLACEMENT_CHARACTER);
            }
        }
        self.cut::<E>(out, clean, &shown.text, shown.over);
    }

    /// Appends text of which `over` bytes are missing at the end.
    fn cut<E: Encode>(&self, out: &mut Vec<u8>, clean: &mut String, text: &str, over: usize) {
        clean.clear();
        let is_changed = self.redaction.clean(text, over > 0, clean);
        if over > 0 {
            if !is_changed {
                clean.push_str(text);
            }
            let _ = write!(clean, "...[+{over} bytes]");
        }
        E::text(out, if clean.is_empty() { text } else { clean });
    }
}

/// Appends a value that is the same in every format: a number of at most 64 bits, or a boolean.
pub(crate) fn literal(out: &mut Vec<u8>, value: impl fmt::Display) {
    // Writing to memory cannot fail.
    let _ = io::Write::write_fmt(out, format_args!("{value}"));
}

/// Appends a float: the shortest number that reads back, or text where JSON has no number.
pub(crate) fn float<E: Encode>(out: &mut Vec<u8>, value: f64) {
    if short_float(out, value) {
        return;
    }
    if value.is_finite() {
        let _ = io::Write::write_fmt(out, format_args!("{value:?}"));
    } else if value.is_nan() {
        E::text(out, "NaN");
    } else {
        E::text(out, if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown")
}
