use std::{fmt, str};

/// Bytes as `N` lower-case hexadecimal digits, without an allocation: the form in which ids are logged and sent.
///
/// ```
/// use towerkit_core::Hex;
///
/// assert_eq!(Hex::<8>::new(&[0x00, 0xc0, 0xff, 0xee]).as_str(), "00c0ffee");
/// ```
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    /// Writes `bytes`, two digits each. Digits without a byte are zeros at the end; bytes without digits are left out.
    #[inline]
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut digits = [b'0'; N];
        for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
            pair[0] = digit(byte >> 4);
            pair[1] = digit(byte & 0x0f);
        }
        Self(digits)
    }

    /// Returns the digits.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }

    /// Returns the digits as text.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

/// Writes a value below 16. By arithmetic, which the compiler does for many digits at once: half the instructions of a table.
#[inline(always)]
const fn digit(value: u8) -> u8 {
    value + if value < 10 { b'0' } else { b'a' - 10 }
}

impl<const N: usize> fmt::Display for Hex<N> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_in_every_place_is_written_as_the_standard_library_does() {
        for place in 0..6 {
            for byte in 0..=u8::MAX {
                let mut bytes = [0x5a; 6];
                bytes[place] = byte;
                let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let digits = Hex::<12>::new(&bytes);
                assert_eq!(digits.as_str(), text);
                assert_eq!(digits.as_bytes(), text.as_bytes());
                assert_eq!(
                    (digits.to_string(), format!("{digits:?}")),
                    (text.clone(), text)
                );
            }
        }
        assert_eq!(Hex::<5>::new(&[0xab]).as_str(), "ab000");
        assert_eq!(Hex::<2>::new(&[0xab, 0xcd]).as_str(), "ab");
    }
}
