//! The suffixes that the formats give a meaning, and which names they keep others from having.

use std::{collections::BTreeMap, sync::Arc};

use crate::{MetricError, family::InstrumentKind};

/// The suffixes of OpenMetrics 1.0 (section "Suffixes"), with what is said to who ends the name of another type of metric so.
///
/// `_total` is a counter's own, and `_info` is left to gauges, as which programs show their versions: neither format has another place
/// for them here.
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

/// Rejects a name that ends in a suffix of another type of metric.
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

/// Which metric a line belongs to, by the name that stands in it.
#[derive(Debug, Default)]
pub(crate) struct ReservedNames(BTreeMap<Box<str>, Arc<str>>);

impl ReservedNames {
    /// Takes the names of a metric, unless another metric has one of them.
    ///
    /// Among them are those that a later version may write (`_created`), and the name of a counter without `_total`, which is that of
    /// the metric in OpenMetrics.
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
        // A counter without its suffix is of unknown type.
        _ => (name, &[""][..]),
    };
    suffixes
        .iter()
        .map(|suffix| format!("{base}{suffix}"))
        .collect()
}

/// Returns the name of a counter in OpenMetrics, if it has one.
pub(crate) fn counter_base_name(name: &str) -> Option<&str> {
    name.strip_suffix(TOTAL).filter(|base| !base.is_empty())
}
