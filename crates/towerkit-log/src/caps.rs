use std::fmt;

/// How long a value and a line may become, and how many fields a line may have.
///
/// A value that is longer is cut at a character, and ends with `...[+N bytes]`. A field that would make the line too long, or is one
/// too many, is left out, and the last field is `fields_left_out` with their number.
///
/// ```
/// use towerkit_log::{LengthLimits, Format};
///
/// let caps = LengthLimits::new().value(1024).line(16 * 1024);
/// let subscriber = towerkit_log::subscriber(Format::Json).length_limits(caps);
/// # let _ = subscriber;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthLimits {
    pub(crate) value: usize,
    pub(crate) fields: usize,
    line: usize,
}

impl LengthLimits {
    /// What `fields_left_out` and the end of the line may take.
    const RESERVE: usize = 64;
    const SHORTEST_LINE: usize = 1024;

    /// LengthLimits values at 16 KiB, lines at 64 KiB and 128 fields.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            value: 16 * 1024,
            fields: 128,
            line: 64 * 1024,
        }
    }

    /// Sets the bytes of a value, before it is escaped and without the mark that it was cut; 16 KiB by default.
    #[must_use]
    pub const fn value(mut self, bytes: usize) -> Self {
        self.value = bytes;
        self
    }

    /// Sets the bytes of a line, in all; 64 KiB by default, and 1 KiB at least.
    #[must_use]
    pub const fn line(mut self, bytes: usize) -> Self {
        self.line = if bytes < Self::SHORTEST_LINE {
            Self::SHORTEST_LINE
        } else {
            bytes
        };
        self
    }

    /// Sets how many fields a line has at most, with `ts`, `level`, `target` and `msg`, which it always may have; 128 by default.
    #[must_use]
    pub const fn fields(mut self, fields: usize) -> Self {
        self.fields = if fields < 4 { 4 } else { fields };
        self
    }

    /// Whether a line of that length can still be ended.
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

/// Returns the beginning of `text`, of at most so many bytes and whole characters.
pub(crate) fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Text that remembers its beginning, and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Capped {
    pub(crate) text: String,
    cap: usize,
    /// The bytes that were left out.
    pub(crate) over: usize,
}

impl Capped {
    pub(crate) const fn new() -> Self {
        Self {
            text: String::new(),
            cap: 0,
            over: 0,
        }
    }

    /// Begins anew.
    pub(crate) fn start(&mut self, cap: usize) {
        self.text.clear();
        self.cap = cap;
        self.over = 0;
    }
}

impl fmt::Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = if self.over > 0 {
            0
        } else {
            self.cap.saturating_sub(self.text.len())
        };
        let kept = beginning(text, room);
        self.text.push_str(kept);
        // An error would end it sooner, but there are values that panic then.
        self.over += text.len() - kept.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// LG-08
        #[test]
        fn text_is_cut_at_a_character_and_the_rest_is_counted(
            pieces in prop::collection::vec("[aé€🦀]{0,6}", 0..6),
            cap in 0..40_usize,
        ) {
            let mut capped = Capped::new();
            capped.start(cap);
            pieces.iter().for_each(|piece| capped.write_str(piece).unwrap());
            // Character by character.
            let (mut expected, mut is_full) = (String::new(), false);
            for c in pieces.concat().chars() {
                is_full |= expected.len() + c.len_utf8() > cap;
                if !is_full {
                    expected.push(c);
                }
            }
            prop_assert_eq!(&capped.text, &expected);
            prop_assert_eq!(capped.over, pieces.concat().len() - expected.len());
            let whole = pieces.concat();
            prop_assert_eq!(beginning(&whole, cap), expected);
        }
    }
}
