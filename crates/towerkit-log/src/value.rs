use std::{
    any::Any,
    fmt::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{
    LengthLimits, Redaction,
    encode::Encode,
    length_limits::{LimitedText, prefix, push_omitted_mark},
};

/// Writes values within the [`LengthLimits`] and without the credentials that [`Redaction`] finds.
#[derive(Debug, Clone, Default)]
pub(crate) struct ValueWriter {
    pub(crate) redaction: Redaction,
    pub(crate) limits: LengthLimits,
}

/// Reused memory for values that have to be formatted, truncated or redacted.
#[derive(Debug, Default)]
pub(crate) struct ValueBuffers {
    formatted: LimitedText,
    redacted: String,
}

impl ValueBuffers {
    pub(crate) const fn new() -> Self {
        Self {
            formatted: LimitedText::new(),
            redacted: String::new(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.formatted.text.capacity().max(self.redacted.capacity())
    }
}

/// Receives recorded fields, such as a line or the fields of a span.
pub(crate) trait FieldSink {
    /// Adds a field, or ignores it without a call to `value`, which appends the encoded value.
    fn add<E: Encode>(
        &mut self,
        name: &'static str,
        value: impl FnOnce(&mut Vec<u8>, &mut ValueBuffers),
    );
}

impl ValueWriter {
    /// Appends a text.
    pub(crate) fn text<E: Encode>(
        &self,
        out: &mut Vec<u8>,
        buffers: &mut ValueBuffers,
        text: &str,
    ) {
        let kept = prefix(text, self.limits.value);
        self.push_redacted::<E>(out, &mut buffers.redacted, kept, text.len() - kept.len());
    }

    /// Appends a formatted value. If formatting panics or fails, appends a description of the failure, as go-logfmt does.
    pub(crate) fn formatted<E: Encode>(
        &self,
        out: &mut Vec<u8>,
        buffers: &mut ValueBuffers,
        value: fmt::Arguments<'_>,
    ) {
        let ValueBuffers {
            formatted,
            redacted,
        } = buffers;
        formatted.reset(self.limits.value);
        match catch_unwind(AssertUnwindSafe(|| formatted.write_fmt(value))) {
            Ok(Ok(())) => {}
            // Writing to a string cannot fail, here and below.
            Ok(Err(_)) => {
                formatted.reset(self.limits.value);
                let _ = formatted.write_str("ERROR:the value could not be formatted");
            }
            Err(panic) => {
                formatted.reset(self.limits.value);
                let _ = write!(formatted, "PANIC:{}", panic_message(&*panic));
            }
        }
        self.push_redacted::<E>(out, redacted, &formatted.text, formatted.omitted);
    }

    /// Appends bytes as text, with invalid UTF-8 replaced by U+FFFD.
    pub(crate) fn bytes<E: Encode>(
        &self,
        out: &mut Vec<u8>,
        buffers: &mut ValueBuffers,
        bytes: &[u8],
    ) {
        let ValueBuffers {
            formatted,
            redacted,
        } = buffers;
        formatted.reset(self.limits.value);
        for chunk in bytes.utf8_chunks() {
            let _ = formatted.write_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                let _ = formatted.write_char(char::REPLACEMENT_CHARACTER);
            }
        }
        self.push_redacted::<E>(out, redacted, &formatted.text, formatted.omitted);
    }

    /// Appends a text of which the last `omitted` bytes are missing.
    fn push_redacted<E: Encode>(
        &self,
        out: &mut Vec<u8>,
        redacted: &mut String,
        text: &str,
        omitted: usize,
    ) {
        redacted.clear();
        let is_changed = self.redaction.redact_into(text, omitted > 0, redacted);
        if omitted > 0 {
            if !is_changed {
                redacted.push_str(text);
            }
            push_omitted_mark(redacted, omitted);
        }
        E::text(out, if redacted.is_empty() { text } else { redacted });
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown")
}
