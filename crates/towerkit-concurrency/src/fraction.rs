/// A part of a limit, in units of 2^-32.
///
/// Integers, because a call is held against it: no rounding mode and no conversion stand on its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fraction(u64);

impl Fraction {
    pub(crate) const ALL: Self = Self(1 << 32);

    /// Takes a number above 0 and at most 1, to the next unit up, so that 0.7 of 10 is 7 although the nearest `f64` lies below.
    pub(crate) fn of(share: f64) -> Option<Self> {
        let is_share = share > 0.0 && share <= 1.0;
        is_share.then(|| Self((share * Self::ALL.0 as f64).ceil() as u64))
    }

    /// Returns this part of `limit`, rounded down.
    #[inline(always)]
    pub(crate) fn of_limit(self, limit: u32) -> u32 {
        ((u64::from(limit) * self.0) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_are_what_one_expects() {
        for tenths in 1..=10 {
            let fraction = Fraction::of(f64::from(tenths) / 10.0).unwrap();
            assert_eq!(fraction.of_limit(10), tenths, "{tenths} tenths of 10");
            assert_eq!(fraction.of_limit(1_000), tenths * 100);
        }
        assert_eq!(Fraction::of(1.0), Some(Fraction::ALL));
        assert_eq!(Fraction::ALL.of_limit(u32::MAX), u32::MAX);
        assert_eq!(Fraction::of(f64::MIN_POSITIVE).unwrap().of_limit(100), 0);
    }

    #[test]
    fn nonsense_is_no_fraction() {
        for share in [0.0, -0.0, -1.0, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Fraction::of(share), None, "{share}");
        }
    }
}
