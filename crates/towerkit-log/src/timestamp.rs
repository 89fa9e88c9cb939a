use std::time::{SystemTime, UNIX_EPOCH};

/// A time in UTC with microseconds, as [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) writes it in 27 characters.
pub(crate) type Timestamp = [u8; 27];

const TEMPLATE: &Timestamp = b"0000-00-00T00:00:00.000000Z";
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// 0000-01-01, the first day in RFC 3339.
const FIRST: i64 = -719_528 * MICROS_PER_DAY;
/// The last microsecond of the year 9999.
const LAST: i64 = 2_932_897 * MICROS_PER_DAY - 1;

/// Formats `time`. Times outside the years 0 to 9999 are clamped.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let micros = micros_since_epoch(time).clamp(FIRST, LAST);
    let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
    let micros = micros.rem_euclid(MICROS_PER_DAY);
    let seconds = micros / 1_000_000;
    let mut text = *TEMPLATE;
    let places = [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, seconds / 3600),
        (14, seconds / 60 % 60),
        (17, seconds % 60),
        (20, micros / 10_000 % 100),
        (22, micros / 100 % 100),
        (24, micros % 100),
    ];
    for (at, two_digits) in places {
        text[at] += (two_digits / 10) as u8;
        text[at + 1] += (two_digits % 10) as u8;
    }
    text
}

fn micros_since_epoch(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(LAST),
        Err(before) => {
            let nanos = before.duration().as_nanos();
            i64::try_from(nanos.div_ceil(1000)).map_or(FIRST, |micros| -micros)
        }
    }
}

/// Returns the year, month and day of a number of days since 1970-01-01.
///
/// This is `civil_from_days` of Howard Hinnant's [date algorithms](https://howardhinnant.github.io/date_algorithms.html): in a year that
/// begins in March the leap day is the last day, and an era of 400 years has 146,097 days.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = 400 * era + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn text(time: SystemTime) -> String {
        String::from_utf8(timestamp(time).to_vec()).unwrap()
    }

    fn is_leap(year: i64) -> bool {
        year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    }

    /// Counts years, months and days one by one.
    fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
        let lengths = [
            31,
            28 + i64::from(is_leap(year)),
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
        ];
        let years: i64 = (1970..year)
            .map(|year| 365 + i64::from(is_leap(year)))
            .sum();
        let before: i64 = (year..1970)
            .map(|year| 365 + i64::from(is_leap(year)))
            .sum();
        let months: i64 = lengths.iter().take(month as usize - 1).sum();
        years - before + months + day - 1
    }

    #[test]
    fn times_are_written_in_rfc_3339() {
        let after = |micros| UNIX_EPOCH + Duration::from_micros(micros);
        assert_eq!(text(UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            text(after(951_827_696_789_012)),
            "2000-02-29T12:34:56.789012Z"
        );
        assert_eq!(
            text(after(1_709_251_199_999_999)),
            "2024-02-29T23:59:59.999999Z"
        );
        let before = UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!(text(before), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn times_that_rfc_3339_cannot_write_are_clamped() {
        let year = Duration::from_secs(366 * 86_400);
        assert_eq!(
            text(UNIX_EPOCH + 9000 * year),
            "9999-12-31T23:59:59.999999Z"
        );
        assert_eq!(
            text(UNIX_EPOCH - 3000 * year),
            "0000-01-01T00:00:00.000000Z"
        );
        assert_eq!(days_from_civil(0, 1, 1) * MICROS_PER_DAY, FIRST);
        assert_eq!(days_from_civil(10_000, 1, 1) * MICROS_PER_DAY - 1, LAST);
    }

    proptest! {
        #[test]
        fn dates_agree_with_a_count_of_days(
            year in 0_i64..10_000,
            month in 1_i64..=12,
            day in 1_i64..=28,
            later in 0_i64..4,
        ) {
            let days = days_from_civil(year, month, day);
            prop_assert_eq!(civil_from_days(days), (year, month, day));
            // The days at the end of a month, and the first of the next.
            let (year, month, day) = civil_from_days(days + later);
            prop_assert_eq!(days_from_civil(year, month, day), days + later);
        }
    }
}
