//! Reads lower-case hexadecimal digits, eight at a time: the lanes of a word hold one digit each, the first in the lowest.

/// Reads lower-case hexadecimal digits, two for each byte; `None` for anything else, of any other length.
#[inline]
pub(crate) fn decode<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    let mut wrong = 0;
    for (four, eight) in bytes.chunks_mut(4).zip(digits.chunks(8)) {
        let mut lanes = [b'0'; 8];
        lanes[..eight.len()].copy_from_slice(eight);
        let lanes = u64::from_le_bytes(lanes);
        let values = values(lanes);
        // A digit that is none is not what its value is written as.
        wrong |= written(values) ^ lanes;
        four.copy_from_slice(&joined(values)[..four.len()]);
    }
    (wrong == 0).then_some(bytes)
}

/// The same byte in every lane.
const fn lanes(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The values of digits: the lower half of each, and 9 more for a letter.
const fn values(digits: u64) -> u64 {
    let letters = digits >> 6 & lanes(1);
    ((digits & lanes(0x0f)) + 9 * letters) & lanes(0x0f)
}

/// The digits of values below 16.
const fn written(values: u64) -> u64 {
    let letters = (values + lanes(6)) >> 4 & lanes(1);
    values + lanes(b'0') + letters * (b'a' - b'0' - 10) as u64
}

/// Bytes of two values each.
const fn joined(values: u64) -> [u8; 4] {
    let pairs = (values << 4 | values >> 8) & 0x00ff_00ff_00ff_00ff;
    let pairs = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    ((pairs | pairs >> 16) as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_in_every_position_is_parsed_as_the_standard_library_writes_it() {
        for lane in 0..6 {
            for byte in 0..=u8::MAX {
                let mut bytes = [0x5a; 6];
                bytes[lane] = byte;
                let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(decode(text.as_bytes()), Some(bytes));
            }
        }
    }

    #[test]
    fn other_bytes_than_lower_case_digits_are_rejected_in_every_position() {
        for lane in 0..12 {
            for byte in 0..=u8::MAX {
                let mut digits = *b"0123456789ab";
                digits[lane] = byte;
                let is_digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                assert_eq!(decode::<6>(&digits).is_some(), is_digit, "{byte:#x}");
            }
        }
        assert_eq!(decode::<6>(b"0123456789a"), None);
        assert_eq!(decode::<6>(b"0123456789abc"), None);
    }
}
