use towerkit_metrics::HistogramSnapshot;

use crate::{
    ledger::{Cell, Mark},
    quantile::quantile,
    series::Series,
};

/// The quantiles that are sent, and the names that go-kit gives them.
pub(crate) const QUANTILES: [(f64, &str); 4] =
    [(0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99")];

/// Returns the quantiles of the values since the last push, if there were any, and what their receiver knows then.
pub(crate) fn quantiles(
    series: &Series<'_>,
    values: &HistogramSnapshot,
) -> Option<([f64; QUANTILES.len()], Vec<Mark>)> {
    let told = |(index, count): (usize, &u64)| series.told.count(Cell::Bucket(index), *count);
    let (counts, marks): (Vec<u64>, Vec<Mark>) =
        values.counts().iter().enumerate().map(told).unzip();
    let mut found = [0.0; QUANTILES.len()];
    for (slot, (q, _)) in found.iter_mut().zip(QUANTILES) {
        *slot = quantile(values.bounds(), &counts, q)?;
    }
    Some((found, marks))
}
