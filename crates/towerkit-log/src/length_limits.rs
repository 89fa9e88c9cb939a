use std::fmt::{self, Write};

/// Limits the length of values, the length of lines, and the number of fields in a line.
///
/// A longer value is truncated at a character boundary, and ends with `...[+N bytes]`. A field that exceeds the length of the line or the
/// number of fields is omitted, and the last field of the line is `fields_left_out` with the number of omitted fields.
///
/// ```
/// use towerkit_log::{Format, LengthLimits};
///
/// let limits = LengthLimits::new().value(1024).line(16 * 1024);
/// let subscriber = towerkit_log::subscriber(Format::Json).length_limits(limits);
/// # let _ = subscriber;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthLimits {
    pub(crate) value: usize,
    pub(crate) fields: usize,
    line: usize,
}

impl LengthLimits {
    /// The space that is reserved for `fields_left_out` and the end of the line.
    const RESERVE: usize = 64;
    const MIN_LINE: usize = 1024;
    /// The fields `ts`, `level`, `target` and `msg`.
    const MIN_FIELDS: usize = 4;

    /// Creates the default limits: 16 KiB per value, 64 KiB per line, 128 fields per line.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            value: 16 * 1024,
            fields: 128,
            line: 64 * 1024,
        }
    }

    /// Sets the maximum length of a value in bytes, before escaping and without the mark; 16 KiB by default.
    #[must_use]
    pub const fn value(mut self, bytes: usize) -> Self {
        self.value = bytes;
        self
    }

    /// Sets the maximum length of a line in bytes; 64 KiB by default, and at least 1 KiB.
    #[must_use]
    pub const fn line(mut self, bytes: usize) -> Self {
        self.line = if bytes < Self::MIN_LINE {
            Self::MIN_LINE
        } else {
            bytes
        };
        self
    }

    /// Sets the maximum number of fields in a line; 128 by default, and at least 4 (`ts`, `level`, `target` and `msg`).
    #[must_use]
    pub const fn fields(mut self, fields: usize) -> Self {
        self.fields = if fields < Self::MIN_FIELDS {
            Self::MIN_FIELDS
        } else {
            fields
        };
        self
    }

    /// Returns true if a line of `length` bytes can still be finished within the limit.
    #[inline(always)]
    pub(crate) const fn has_room(&self, length: usize) -> bool {
        length <= self.line - Self::RESERVE
    }
}

impl Default for LengthLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the longest prefix of `text` with at most `max_bytes` bytes.
pub(crate) fn prefix(text: &str, max_bytes: usize) -> &str {
    let mut end = max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Appends the number of omitted bytes, if any, as `...[+N bytes]`.
pub(crate) fn push_omitted_mark(out: &mut String, omitted: usize) {
    if omitted > 0 {
        // Writing to a string cannot fail.
        let _ = write!(out, "...[+{omitted} bytes]");
    }
}

/// A text that stores up to `limit` bytes, and counts the bytes beyond.
#[derive(Debug, Default)]
pub(crate) struct LimitedText {
    pub(crate) text: String,
    limit: usize,
    /// The number of bytes that were not stored.
    pub(crate) omitted: usize,
}

impl LimitedText {
    pub(crate) const fn new() -> Self {
        Self {
            text: String::new(),
            limit: 0,
            omitted: 0,
        }
    }

    /// Clears the text and sets its limit.
    pub(crate) fn reset(&mut self, limit: usize) {
        self.text.clear();
        self.limit = limit;
        self.omitted = 0;
    }
}

impl Write for LimitedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = if self.omitted > 0 {
            0
        } else {
            self.limit.saturating_sub(self.text.len())
        };
        let kept = prefix(text, room);
        self.text.push_str(kept);
        // An error would stop the formatting earlier, but some `Display` implementations panic on errors.
        self.omitted += text.len() - kept.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// LG-08
        #[test]
        fn text_is_truncated_at_a_character_and_the_rest_is_counted(
            pieces in prop::collection::vec("[aé€🦀]{0,6}", 0..6),
            limit in 0..40_usize,
        ) {
            let mut limited = LimitedText::new();
            limited.reset(limit);
            pieces.iter().for_each(|piece| limited.write_str(piece).unwrap());
            // Character by character.
            let (mut expected, mut is_full) = (String::new(), false);
            for c in pieces.concat().chars() {
                is_full |= expected.len() + c.len_utf8() > limit;
                if !is_full {
                    expected.push(c);
                }
            }
            prop_assert_eq!(&limited.text, &expected);
            prop_assert_eq!(limited.omitted, pieces.concat().len() - expected.len());
            let whole = pieces.concat();
            prop_assert_eq!(prefix(&whole, limit), expected);
        }
    }
}
