//! The suffixes with a meaning in the formats, and the metric names that they reserve.

use std::{collections::BTreeMap, sync::Arc};

use crate::{MetricError, family::InstrumentKind};

/// The suffixes of [OpenMetrics 1.0][suffixes], each with the error message for a metric of another type.
///
/// `_total` is allowed for counters. `_info` is allowed for gauges, which programs use to show their version: neither format has another
/// type for it here.
///
/// [suffixes]: https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md#suffixes
const SUFFIXES: [(&str, &str); 8] = [
    ("_total", "the suffix _total is reserved for counters"),
    (
        "_created",
        "the suffix _created is reserved for the time at which a metric was created",
    ),
    (
        "_bucket",
        "the suffix _bucket is reserved for the buckets of histograms",
    ),
    (
        "_count",
        "the suffix _count is reserved for the counts of histograms and summaries",
    ),
    (
        "_sum",
        "the suffix _sum is reserved for the sums of histograms and summaries",
    ),
    (
        "_gcount",
        "the suffix _gcount is reserved for the counts of gauge histograms",
    ),
    (
        "_gsum",
        "the suffix _gsum is reserved for the sums of gauge histograms",
    ),
    (
        "_info",
        "the suffix _info is reserved for metrics that are information",
    ),
];

const TOTAL: &str = "_total";

/// Rejects a name with a suffix that is reserved for another type of metric.
pub(crate) fn check(name: &str, kind: &InstrumentKind) -> Result<(), MetricError> {
    let may_end_in = match kind {
        InstrumentKind::Counter | InstrumentKind::ObservableCounter(_) => TOTAL,
        InstrumentKind::Gauge => "_info",
        InstrumentKind::Histogram(_) => "",
    };
    let is_reserved = |suffix: &str| suffix != may_end_in && name.ends_with(suffix);
    match SUFFIXES.iter().find(|(suffix, _)| is_reserved(suffix)) {
        Some((_, why)) => Err(MetricError::new(name, why)),
        None => Ok(()),
    }
}

/// The metric that owns each sample name.
#[derive(Debug, Default)]
pub(crate) struct ReservedNames(BTreeMap<Box<str>, Arc<str>>);

impl ReservedNames {
    /// Reserves the sample names of a metric, or returns a [`MetricError`] if another metric owns one of them.
    ///
    /// They include the names that a later version may write (`_created`), and the name of a counter without `_total`, which OpenMetrics
    /// uses.
    pub(crate) fn claim(
        &mut self,
        name: &Arc<str>,
        kind: &InstrumentKind,
    ) -> Result<(), MetricError> {
        let names = names(name, kind);
        if let Some(owner) = names.iter().find_map(|name| self.0.get(&**name)) {
            return Err(MetricError::clash(name, owner));
        }
        let names = names.into_iter().map(|taken| (taken.into(), name.clone()));
        self.0.extend(names);
        Ok(())
    }
}

fn names(name: &str, kind: &InstrumentKind) -> Vec<String> {
    let base = match kind {
        InstrumentKind::Counter | InstrumentKind::ObservableCounter(_) => counter_base_name(name),
        _ => None,
    };
    let (base, suffixes) = match (kind, base) {
        (_, Some(base)) => (base, &["", TOTAL, "_created"][..]),
        (InstrumentKind::Histogram(_), _) => {
            (name, &["", "_bucket", "_count", "_sum", "_created"][..])
        }
        // A counter without `_total` has the type `unknown`.
        _ => (name, &[""][..]),
    };
    suffixes
        .iter()
        .map(|suffix| format!("{base}{suffix}"))
        .collect()
}

/// Returns the name of a counter in OpenMetrics, without `_total`.
pub(crate) fn counter_base_name(name: &str) -> Option<&str> {
    name.strip_suffix(TOTAL).filter(|base| !base.is_empty())
}
