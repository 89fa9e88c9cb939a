use std::fmt::Write;

use towerkit_metrics::{HistogramSnapshot, RegistrySnapshot, Value};

use crate::{
    quantile::quantile,
    sent_state::{Field, SentSeries, SentState, SentValue},
};

/// The quantiles of histograms, with the names that go-kit gives them.
pub(crate) const QUANTILES: [(f64, &str); 4] =
    [(0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99")];

/// One series of a snapshot, and its values that were sent before.
#[derive(Debug)]
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_seconds: bool,
    pub(crate) labels: Vec<(&'a str, &'a str)>,
    pub(crate) value: &'a Value,
    pub(crate) sent: SentSeries<'a>,
}

impl Series<'_> {
    /// Returns the [`QUANTILES`] of the values since the last push, and the counts that are sent by them; `None` if there are no values.
    pub(crate) fn quantiles(
        &self,
        values: &HistogramSnapshot,
    ) -> Option<([f64; QUANTILES.len()], Vec<SentValue>)> {
        let change = |(index, count): (usize, &u64)| self.sent.count(Field::Bucket(index), *count);
        let (counts, sent): (Vec<u64>, Vec<SentValue>) =
            values.counts().iter().enumerate().map(change).unzip();
        let mut found = [0.0; QUANTILES.len()];
        for (slot, (q, _)) in found.iter_mut().zip(QUANTILES) {
            *slot = quantile(values.bounds(), &counts, q)?;
        }
        Some((found, sent))
    }
}

/// Calls `each` with every series of a snapshot.
pub(crate) fn for_each_series(
    snapshot: &RegistrySnapshot,
    state: &mut SentState,
    mut each: impl FnMut(&Series<'_>),
) {
    let mut key = String::new();
    for family in snapshot.families() {
        for sample in family.samples() {
            let labels: Vec<_> = family.labels(sample).collect();
            key.clear();
            key.push_str(family.name());
            for (_, value) in &labels {
                // The length keeps the key unambiguous. Writing to a String cannot fail.
                let _ = write!(key, ",{}:{value}", value.len());
            }
            let index = state.index_of(&key);
            each(&Series {
                name: family.name(),
                is_seconds: family.unit() == Some("seconds"),
                labels,
                value: sample.value(),
                sent: SentSeries { state, index },
            });
        }
    }
}
