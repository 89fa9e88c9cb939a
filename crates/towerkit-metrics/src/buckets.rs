use std::{array, fmt, sync::Arc};

use towerkit_core::ConfigError;

/// The upper bounds of the buckets of a [`Histogram`](crate::Histogram), in ascending order; a last bucket without a bound is implied.
///
/// The default is that of OpenTelemetry's [semantic conventions] for durations in seconds: 5, 10, 25, 50, 75, 100, 250, 500 and 750
/// milliseconds, and 1, 2.5, 5, 7.5 and 10 seconds.
///
/// [semantic conventions]: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserverrequestduration
///
/// ```
/// use towerkit_metrics::Buckets;
///
/// let buckets = Buckets::new([0.001, 0.01, 0.1])?;
/// assert_eq!(buckets.bounds(), [0.001, 0.01, 0.1]);
/// assert_eq!(Buckets::new([1.0, 0.5]).unwrap_err().to_string(), "invalid bucket bounds [1.0, 0.5]: expected bounds in ascending order, each once");
/// # Ok::<(), towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    bounds: Arc<[f64]>,
    /// The bounds in nanoseconds, for bounds that are seconds; the last bucket ends at [`u64::MAX`].
    nanos: Arc<[u64]>,
}

impl Buckets {
    /// Creates buckets with these upper bounds.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `bounds` is empty, contains a number that is not finite, or is not in ascending order.
    pub fn new(bounds: impl IntoIterator<Item = f64>) -> Result<Self, ConfigError> {
        let bounds: Arc<[f64]> = bounds.into_iter().collect();
        let invalid =
            |value: &dyn fmt::Debug, expected| ConfigError::new("bucket bounds", value, expected);
        if bounds.is_empty() {
            return Err(invalid(&bounds, "at least one bound"));
        }
        if let Some(bound) = bounds.iter().find(|bound| !bound.is_finite()) {
            return Err(invalid(bound, "finite numbers"));
        }
        if let Some(pair) = bounds.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(invalid(&pair, "bounds in ascending order, each once"));
        }
        Ok(Self::from_valid(bounds))
    }

    fn from_valid(bounds: Arc<[f64]>) -> Self {
        let nanos = bounds.iter().map(|bound| nanos_of(*bound));
        Self {
            nanos: nanos.chain([u64::MAX]).collect(),
            bounds,
        }
    }

    /// Creates buckets for body sizes: ten bounds from 256 bytes to 64 MiB, each four times the one before.
    #[must_use]
    pub fn bytes() -> Self {
        let bounds: [f64; 10] = array::from_fn(|n| f64::from(256_u32 << (2 * n)));
        Self::from_valid(Arc::new(bounds))
    }

    /// Returns the upper bounds.
    #[must_use]
    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    pub(crate) fn shared(&self) -> Arc<[f64]> {
        self.bounds.clone()
    }

    /// Returns the index of the bucket for a value; `None` for a NaN.
    #[inline]
    pub(crate) fn index_of(&self, value: f64) -> Option<usize> {
        let fits = self.bounds.iter().position(|bound| value <= *bound);
        fits.or_else(|| (!value.is_nan()).then_some(self.bounds.len()))
    }

    /// Returns the index of the bucket for a duration.
    #[inline]
    pub(crate) fn index_of_nanos(&self, nanos: u64) -> usize {
        let fits = self.nanos.iter().position(|bound| nanos <= *bound);
        fits.unwrap_or(self.bounds.len())
    }
}

fn nanos_of(seconds: f64) -> u64 {
    // The cast saturates as intended: durations are not negative and shorter than 584 years.
    (seconds * 1e9).round() as u64
}

impl Default for Buckets {
    fn default() -> Self {
        let bounds = [
            0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
        ];
        Self::from_valid(Arc::new(bounds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-07.
    #[test]
    fn invalid_settings_are_rejected() {
        let rejected = |bounds: &[f64]| {
            Buckets::new(bounds.iter().copied())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            rejected(&[]),
            "invalid bucket bounds []: expected at least one bound"
        );
        for bound in [f64::NAN, f64::INFINITY] {
            assert_eq!(
                rejected(&[1.0, bound]),
                format!("invalid bucket bounds {bound:?}: expected finite numbers")
            );
        }
        assert_eq!(
            rejected(&[1.0, 1.0]),
            "invalid bucket bounds [1.0, 1.0]: expected bounds in ascending order, each once"
        );
    }

    #[test]
    fn the_defaults_are_valid() {
        let default = Buckets::default();
        assert_eq!(Buckets::new(default.bounds().iter().copied()), Ok(default));
        let bytes = Buckets::bytes();
        assert_eq!(bytes.bounds()[0], 256.0);
        assert_eq!(bytes.bounds()[9], 64.0 * 1024.0 * 1024.0);
        assert_eq!(Buckets::new(bytes.bounds().iter().copied()), Ok(bytes));
    }
}
