//! The header and the text formats of a remaining time, as pure functions.

use std::time::Duration;

use towerkit_core::{ConfigError, parse_grpc_timeout};

/// A text format of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// [`grpc-timeout`]: at most eight digits and a unit.
    ///
    /// [`grpc-timeout`]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
    Grpc,
    /// Whole milliseconds.
    Millis,
}

/// Returns a header name, if it is a token ([RFC 9110, section 5.6.2]) in lower case, as HTTP/2 requires.
///
/// [RFC 9110, section 5.6.2]: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
pub(crate) fn check_header(name: &'static str) -> Result<&'static str, ConfigError> {
    let is_token = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    if name.is_empty() || !name.bytes().all(is_token) {
        let expected = "a header name in lower case";
        return Err(ConfigError::new("header", name, expected));
    }
    Ok(name)
}

/// The largest number of eight digits.
const MAX_DIGITS: u128 = 99_999_999;

/// The units of `grpc-timeout` in nanoseconds, finest first.
const UNITS: [(char, u128); 6] = [
    ('n', 1),
    ('u', 1_000),
    ('m', 1_000_000),
    ('S', 1_000_000_000),
    ('M', 60_000_000_000),
    ('H', 3_600_000_000_000),
];

impl Format {
    /// Parses a time; returns `None` for malformed text.
    pub(crate) fn decode(self, text: &str) -> Option<Duration> {
        match self {
            Self::Grpc => parse_grpc_timeout(text),
            Self::Millis => number(text).map(Duration::from_millis),
        }
    }

    /// Formats a time, rounded down; returns `None` if that is zero.
    pub(crate) fn encode(self, left: Duration) -> Option<String> {
        match self {
            Self::Grpc => encode_grpc(left.as_nanos()),
            Self::Millis => {
                let millis = left.as_millis().min(u128::from(u64::MAX));
                (millis > 0).then(|| millis.to_string())
            }
        }
    }
}

/// Formats in the finest unit for which eight digits suffice.
fn encode_grpc(nanos: u128) -> Option<String> {
    let fits = |&(_, unit): &(char, u128)| nanos / unit <= MAX_DIGITS;
    let (name, unit) = UNITS.into_iter().find(fits).unwrap_or(UNITS[5]);
    let amount = (nanos / unit).min(MAX_DIGITS);
    (amount > 0).then(|| format!("{amount}{name}"))
}

/// Parses digits only; `str::parse` would accept a sign.
fn number(digits: &str) -> Option<u64> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn thousands() -> ProptestConfig {
        ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    /// Parses `grpc-timeout` one character at a time, into nanoseconds.
    fn model(text: &str) -> Option<i128> {
        let mut amount = None;
        let mut chars = text.chars();
        loop {
            let scale = match chars.next()? {
                digit @ '0'..='9' => {
                    let digit = i128::from(digit as u32 - '0' as u32);
                    amount = Some(amount.unwrap_or(0) * 10 + digit);
                    continue;
                }
                'n' => 1,
                'u' => 10_i128.pow(3),
                'm' => 10_i128.pow(6),
                'S' => 10_i128.pow(9),
                'M' => 10_i128.pow(9) * 60,
                'H' => 10_i128.pow(9) * 60 * 60,
                _ => return None,
            };
            let is_whole = chars.next().is_none() && (2..=9).contains(&text.len());
            return if is_whole {
                Some(amount? * scale)
            } else {
                None
            };
        }
    }

    /// Times of every order of magnitude.
    fn time() -> impl Strategy<Value = Duration> {
        (any::<u64>(), 0..64_u32, 0..1_000_000_000_u32)
            .prop_map(|(seconds, shift, nanos)| Duration::new(seconds >> shift, nanos))
    }

    fn signed(time: Duration) -> i128 {
        i128::try_from(time.as_nanos()).unwrap()
    }

    proptest! {
        #![proptest_config(thousands())]

        /// TO-04
        #[test]
        fn a_grpc_timeout_is_parsed_as_specified(text in "[0-9]{0,10}[HMSmunsh]?[0-9+. -]?") {
            let read = Format::Grpc.decode(&text).map(signed);
            prop_assert_eq!(read, model(&text));
        }

        /// TO-04
        #[test]
        fn any_text_is_parsed_or_rejected_without_a_panic(text in any::<String>()) {
            prop_assert_eq!(Format::Grpc.decode(&text).map(signed), model(&text));
            let is_digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
            prop_assert!(is_digits || Format::Millis.decode(&text).is_none());
        }

        /// TO-03: never more than the time left, and as precise as the finest unit that fits.
        #[test]
        fn a_grpc_timeout_is_written_as_closely_as_it_can_be(time in time()) {
            let written = Format::Grpc.encode(time).map(|text| model(&text).unwrap());
            let units = [1, 1_000, 1_000_000, 1_000_000_000, 60_000_000_000, 3_600_000_000_000];
            let closest = units
                .map(|unit| signed(time).div_euclid(unit))
                .into_iter()
                .zip(units)
                .filter(|(amount, _)| (1..100_000_000).contains(amount))
                .map(|(amount, unit)| amount * unit)
                .max();
            let most = 99_999_999 * 3_600_000_000_000;
            let expected = if signed(time) > most { Some(most) } else { closest };
            prop_assert_eq!(written, expected);
            prop_assert!(written.unwrap_or(0) <= signed(time));
        }

        /// TO-03
        #[test]
        fn milliseconds_are_written_rounded_down(time in time()) {
            let written = Format::Millis.encode(time);
            let expected = (signed(time) / 1_000_000).min(i128::from(u64::MAX));
            match written {
                None => prop_assert_eq!(expected, 0),
                Some(text) => {
                    prop_assert_eq!(text.parse::<i128>().unwrap(), expected);
                    prop_assert_eq!(Format::Millis.decode(&text).map(|time| time.as_millis()), u128::try_from(expected).ok());
                }
            }
        }
    }

    /// TO-04: the table of the case, and common mistakes.
    #[test]
    fn a_malformed_grpc_timeout_is_rejected() {
        for text in [
            "",
            "1",
            "S",
            "123456789S",
            "-1S",
            "+1S",
            "1.5S",
            "1s",
            "1h",
            "1SS",
            "1 S",
            " 1S",
            "1S ",
            "0x1S",
            "١S",
            "1\u{fb05}",
            "1e3S",
            "18446744073709551616n",
            "infinity",
        ] {
            assert_eq!(Format::Grpc.decode(text), None, "{text:?}");
        }
    }

    /// TO-04
    #[test]
    fn a_valid_grpc_timeout_is_parsed() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let table = [
            ("99999999H", hours(99_999_999)),
            ("1H", hours(1)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("00000007S", Duration::from_secs(7)),
            ("0S", Duration::ZERO),
        ];
        for (text, time) in table {
            assert_eq!(Format::Grpc.decode(text), Some(time), "{text}");
        }
    }

    #[test]
    fn malformed_milliseconds_are_rejected() {
        for text in [
            "",
            "-1",
            "+1",
            "1.5",
            " 1",
            "1 ",
            "1m",
            "0x1",
            "NaN",
            "18446744073709551616",
        ] {
            assert_eq!(Format::Millis.decode(text), None, "{text:?}");
        }
        let most = Duration::from_millis(u64::MAX);
        assert_eq!(Format::Millis.decode("18446744073709551615"), Some(most));
        assert_eq!(Format::Millis.decode("0"), Some(Duration::ZERO));
    }

    #[test]
    fn a_time_is_written_in_the_finest_unit_that_fits() {
        let table = [
            (Duration::ZERO, None),
            (Duration::from_nanos(1), Some("1n")),
            (Duration::from_nanos(99_999_999), Some("99999999n")),
            (Duration::from_nanos(100_000_999), Some("100000u")),
            (Duration::from_secs(2), Some("2000000u")),
            (Duration::from_secs(100), Some("100000m")),
            (Duration::MAX, Some("99999999H")),
        ];
        for (time, text) in table {
            assert_eq!(Format::Grpc.encode(time).as_deref(), text, "{time:?}");
        }
        let millis = |time| Format::Millis.encode(time);
        assert_eq!(millis(Duration::from_micros(1999)).as_deref(), Some("1"));
        assert_eq!(millis(Duration::from_micros(999)), None);
    }
}
