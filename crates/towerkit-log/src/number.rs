//! Appends numbers to a line without the overhead of [`std::fmt`].

use std::{fmt, io::Write};

use crate::encode::Encode;

/// Appends a value that is written the same in every format: a number of at most 64 bits, or a boolean.
pub(crate) fn push_literal(out: &mut Vec<u8>, value: impl fmt::Display) {
    // Writing to memory cannot fail, here and below.
    let _ = write!(out, "{value}");
}

/// Appends a float as the shortest number that reads back, or as text if JSON has no such number.
pub(crate) fn push_f64<E: Encode>(out: &mut Vec<u8>, value: f64) {
    if push_short_float(out, value) {
        return;
    }
    if value.is_finite() {
        let _ = write!(out, "{value:?}");
    } else if value.is_nan() {
        E::text(out, "NaN");
    } else {
        E::text(out, if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
}

/// Appends an unsigned integer.
pub(crate) fn push_u64(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// Appends a signed integer.
pub(crate) fn push_i64(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    push_u64(out, number.unsigned_abs());
}

/// Appends a float with at most three decimals and fifteen digits as [`Debug`](fmt::Debug) writes it, and returns false for any other.
///
/// Two different numbers of at most fifteen digits are never the same float, so these digits are the shortest that read back.
fn push_short_float(out: &mut Vec<u8>, value: f64) -> bool {
    const LIMIT: f64 = 1e12;
    if !(0.0..LIMIT).contains(&value) || value.is_sign_negative() {
        return false;
    }
    let thousandths = (value * 1000.0).round();
    if thousandths / 1000.0 != value {
        return false;
    }
    let thousandths = thousandths as u64;
    push_u64(out, thousandths / 1000);
    let rest = thousandths % 1000;
    let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
    let length = 3 - digits
        .iter()
        .rev()
        .take_while(|digit| **digit == b'0')
        .count();
    out.push(b'.');
    out.extend_from_slice(&digits[..length.max(1)]);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn integers_are_written_as_the_standard_library_does(bits in any::<u64>(), shift in 0..64) {
            let number = bits >> shift;
            prop_assert_eq!(written(|out| push_u64(out, number)), number.to_string());
            let number = number.cast_signed();
            prop_assert_eq!(written(|out| push_i64(out, number)), number.to_string());
        }

        #[test]
        fn a_short_float_is_written_as_debug_does(
            value in prop_oneof![
                (0..1_000_000_000_u64).prop_map(|micros| micros as f64 / 1000.0),
                (0..2_000_000_000_000_000_u64).prop_map(|micros| micros as f64 / 1000.0),
                any::<f64>(),
                -10.0..10.0,
            ],
        ) {
            let text = written(|out| { push_short_float(out, value); });
            prop_assert!(text.is_empty() || text == format!("{value:?}"), "{} {:?}", text, value);
        }
    }

    #[test]
    fn milliseconds_are_written_with_up_to_three_decimals() {
        for micros in (0..100_000).chain([1_234_567, 999_999_999_999_u64]) {
            let value = micros as f64 / 1000.0;
            assert_eq!(
                written(|out| assert!(push_short_float(out, value))),
                format!("{value:?}")
            );
        }
        for other in [f64::NAN, f64::INFINITY, -0.0, -1.5, 0.0001, 1e12] {
            assert!(!push_short_float(&mut Vec::new(), other), "{other}");
        }
    }
}
