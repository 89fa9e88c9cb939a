/// A fraction of a limit, in units of 2^-32.
///
/// It is an integer so that the admission of a call needs no conversion and no rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fraction(u64);

impl Fraction {
    pub(crate) const ONE: Self = Self(1 << 32);

    /// Converts a number above 0 and up to 1, rounded up, so that 0.7 of 10 is 7 although the nearest [`f64`] is below 0.7.
    pub(crate) fn new(value: f64) -> Option<Self> {
        let is_fraction = value > 0.0 && value <= 1.0;
        is_fraction.then(|| Self((value * Self::ONE.0 as f64).ceil() as u64))
    }

    /// Returns this fraction of `limit`, rounded down.
    #[inline(always)]
    pub(crate) fn of_limit(self, limit: u32) -> u32 {
        ((u64::from(limit) * self.0) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_of_a_limit_are_exact() {
        for tenths in 1..=10 {
            let fraction = Fraction::new(f64::from(tenths) / 10.0).unwrap();
            assert_eq!(fraction.of_limit(10), tenths, "{tenths} tenths of 10");
            assert_eq!(fraction.of_limit(1_000), tenths * 100);
        }
        assert_eq!(Fraction::new(1.0), Some(Fraction::ONE));
        assert_eq!(Fraction::ONE.of_limit(u32::MAX), u32::MAX);
        assert_eq!(Fraction::new(f64::MIN_POSITIVE).unwrap().of_limit(100), 0);
    }

    #[test]
    fn a_number_outside_of_0_to_1_is_rejected() {
        for value in [0.0, -0.0, -1.0, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Fraction::new(value), None, "{value}");
        }
    }
}
