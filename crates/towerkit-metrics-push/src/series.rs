use std::fmt::Write;

use towerkit_metrics::{RegistrySnapshot, Value};

use crate::ledger::{Ledger, Told};

/// One series of a snapshot, and what the receiver knows of it.
#[derive(Debug)]
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_seconds: bool,
    pub(crate) labels: Vec<(&'a str, &'a str)>,
    pub(crate) value: &'a Value,
    pub(crate) told: Told<'a>,
}

/// Calls `each` with every series of a snapshot.
pub(crate) fn each_series(
    snapshot: &RegistrySnapshot,
    ledger: &mut Ledger,
    mut each: impl FnMut(&Series<'_>),
) {
    let mut key = String::new();
    for family in snapshot.families() {
        for sample in family.samples() {
            let labels: Vec<_> = family.labels(sample).collect();
            key.clear();
            key.push_str(family.name());
            for (_, value) in &labels {
                // With its length before it, no value can be taken for two. Writing to a String cannot fail.
                let _ = write!(key, ",{}:{value}", value.len());
            }
            let series = ledger.series(&key);
            each(&Series {
                name: family.name(),
                is_seconds: family.unit() == Some("seconds"),
                labels,
                value: sample.value(),
                told: Told { ledger, series },
            });
        }
    }
}
