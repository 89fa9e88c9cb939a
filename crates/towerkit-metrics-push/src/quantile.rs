//! Estimates from the buckets of a histogram.

/// Estimates a quantile above 0 by linear interpolation, as [`histogram_quantile`] of Prometheus does; `None` if there are no values.
///
/// With `n` values below a bucket, `c` values in it and `total` values, the estimate is `lower + (upper - lower) * (q * total - n) / c`
/// for the first bucket with `n + c >= q * total`.
///
/// [`histogram_quantile`]: https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
pub(crate) fn quantile(bounds: &[f64], counts: &[u64], q: f64) -> Option<f64> {
    let total: u128 = counts.iter().copied().map(u128::from).sum();
    if total == 0 {
        return None;
    }
    let rank = q * total as f64;
    let mut below = 0_u128;
    for (index, count) in counts.iter().enumerate() {
        let within = rank - below as f64;
        below += u128::from(*count);
        if below as f64 >= rank {
            let (lower, upper) = edges(bounds, index)?;
            return Some(lower + (upper - lower) * (within / *count as f64).clamp(0.0, 1.0));
        }
    }
    bounds.last().copied()
}

/// Returns the middle of a bucket, which represents its values.
pub(crate) fn middle(bounds: &[f64], index: usize) -> Option<f64> {
    let (lower, upper) = edges(bounds, index)?;
    Some(lower + (upper - lower) / 2.0)
}

/// Returns the bounds of a bucket. The first one starts at 0, unless its upper bound is lower; the last one has no upper bound and
/// returns its lower bound twice.
fn edges(bounds: &[f64], index: usize) -> Option<(f64, f64)> {
    let before = index
        .checked_sub(1)
        .and_then(|index| bounds.get(index))
        .copied();
    match (before, bounds.get(index).copied()) {
        (None, Some(upper)) => Some((upper.min(0.0), upper)),
        (Some(lower), upper) => Some((lower, upper.unwrap_or(lower))),
        (None, None) => None,
    }
}

/// Returns the sample rate of a sample that represents `count` values.
///
/// A receiver that truncates `1 / rate` to a whole number gets `count`, and not one less.
pub(crate) fn sample_rate(count: u64) -> f64 {
    let rate = 1.0 / count as f64;
    if 1.0 / rate < count as f64 {
        rate.next_down()
    } else {
        rate
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    /// Returns the share of values up to `x`, if the values of each bucket are evenly distributed.
    fn share(edges: &[(f64, f64)], counts: &[u64], x: f64) -> f64 {
        let part = |((lower, upper), count): (&(f64, f64), &u64)| {
            let inside = if x >= *upper {
                1.0
            } else if x <= *lower {
                0.0
            } else {
                (x - lower) / (upper - lower)
            };
            *count as f64 * inside
        };
        let total: u64 = counts.iter().sum();
        edges.iter().zip(counts).map(part).sum::<f64>() / total as f64
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]

        /// The model finds the value by bisection of the share of values.
        #[test]
        fn a_quantile_has_its_share_of_values_below_it(
            steps in prop::collection::vec(1_u32..1000, 1..8),
            counts in prop::collection::vec(0_u64..50, 8),
            q in 0.01_f64..0.999,
        ) {
            let bounds: Vec<f64> = steps
                .iter()
                .scan(0.0, |sum, step| { *sum += f64::from(*step); Some(*sum) })
                .collect();
            let last = bounds[bounds.len() - 1];
            let starts = std::iter::once(0.0).chain(bounds.iter().copied());
            let edges: Vec<_> = starts.zip(bounds.iter().copied().chain([last])).collect();
            let counts = &counts[..edges.len()];
            let found = quantile(&bounds, counts, q);
            prop_assert_eq!(found.is_none(), counts.iter().sum::<u64>() == 0);
            let Some(found) = found else { return Ok(()) };
            let (mut low, mut high) = (0.0, last);
            for _ in 0..80 {
                let x = (low + high) / 2.0;
                if share(&edges, counts, x) < q { low = x } else { high = x }
            }
            // In a gap without values any value with the same share is right.
            let same = (share(&edges, counts, found) - share(&edges, counts, high)).abs() < 1e-6;
            prop_assert!((found - high).abs() < 1e-6 * last || same, "{} is not {}", found, high);
        }
    }

    /// GK-MT-3.
    #[test]
    fn quantiles_of_a_normal_distribution_are_right_within_a_hundredth() {
        let bounds: Vec<f64> = (80..120).map(|n| f64::from(n) * 5.0).collect();
        let mut counts = vec![0; bounds.len() + 1];
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..12_345 {
            // The sum of twelve even variates is nearly normal, with a variance of 1.
            let normal = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
            let value = 500.0 + 25.0 * normal;
            counts[bounds.partition_point(|bound| *bound < value)] += 1;
        }
        for (q, expected) in [(0.5, 500.0), (0.9, 532.0), (0.95, 541.1), (0.99, 558.2)] {
            let found = quantile(&bounds, &counts, q).unwrap();
            assert!(
                (found / expected - 1.0_f64).abs() < 0.01,
                "p{q}: {found}, not {expected}"
            );
        }
    }

    #[test]
    fn estimates_stay_within_the_bounds() {
        assert_eq!(quantile(&[1.0, 2.0], &[0, 0, 7], 0.5), Some(2.0));
        assert_eq!(quantile(&[-3.0, 2.0], &[4, 0, 0], 0.5), Some(-3.0));
        assert_eq!(quantile(&[4.0], &[2, 0], 0.5), Some(2.0));
        assert_eq!(quantile(&[4.0], &[0, 0], 0.5), None);
        assert_eq!(quantile(&[4.0], &[u64::MAX, u64::MAX], 0.25), Some(2.0));
        assert_eq!(middle(&[1.0, 2.0], 1), Some(1.5));
        assert_eq!(middle(&[1.0, 2.0], 2), Some(2.0));
    }

    /// GK-MT-4: also for receivers that truncate to whole numbers.
    #[test]
    fn a_sample_represents_exactly_its_count() {
        for count in (1..100_000).chain([1 << 20, 999_999_937, 1 << 40]) {
            let written: f64 = sample_rate(count).to_string().parse().unwrap();
            assert_eq!((1.0 / written) as u64, count);
            assert!((1.0 / written - count as f64).abs() < 1e-6 * count as f64);
        }
    }
}
