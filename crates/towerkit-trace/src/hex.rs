/// Reads lower-case hexadecimal digits, two for each byte; `None` for anything else, of any other length.
#[inline]
pub(crate) fn decode<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks().0) {
        let [high, low]: [u8; 2] = *pair;
        let (high, low) = (VALUES[usize::from(high)], VALUES[usize::from(low)]);
        // A digit that is none has its high bits set, which are looked at once for all.
        seen |= high | low;
        *byte = high << 4 | low & 0x0f;
    }
    (seen < 16).then_some(bytes)
}

/// Writes bytes as lower-case hexadecimal digits.
#[inline]
pub(crate) fn encode(bytes: &[u8], digits: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0x0f)];
    }
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

const VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};
