//! The metrics of a registry as text, written piece by piece.

use std::{collections::btree_map, mem, sync::Arc};

use crate::{
    MetricFamily,
    exposition::{self, Bounds, Number},
    family::{Family, Series},
    open_metrics::{self, Canonical},
};

/// The formats that Prometheus reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// The Prometheus text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

/// What is left to write. Which series there are was settled when it was made; each is read when it is written.
#[derive(Debug)]
pub(crate) struct Text {
    style: Style,
    families: btree_map::IntoIter<Arc<str>, Family>,
    /// The metric that is being written.
    current: Option<Current>,
    has_ended: bool,
}

#[derive(Debug)]
struct Current {
    head: MetricFamily,
    bounds: Bounds,
    series: Series,
}

impl Text {
    pub(crate) fn new(
        style: Style,
        families: impl IntoIterator<IntoIter = btree_map::IntoIter<Arc<str>, Family>>,
    ) -> Self {
        Self {
            style,
            families: families.into_iter(),
            current: None,
            has_ended: false,
        }
    }

    /// Appends whole series until `out` has so many bytes or all is written; returns whether something is left.
    pub(crate) fn write(&mut self, out: &mut String, enough: usize) -> bool {
        while out.len() < enough {
            if !self.step(out) {
                return false;
            }
        }
        true
    }

    /// Appends the beginning of a metric, one of its series, or the end of all.
    fn step(&mut self, out: &mut String) -> bool {
        if let Some(Current {
            head,
            bounds,
            series,
        }) = &mut self.current
            && let Some(sample) = series.next()
        {
            match self.style {
                Style::Prometheus => exposition::series(out, head, bounds, &sample),
                Style::OpenMetrics => open_metrics::series(out, head, bounds, &sample),
            }
            return true;
        }
        self.current = self.families.next().map(|(name, family)| {
            let bounds = match self.style {
                Style::Prometheus => {
                    Bounds::new(family.bounds(), |bound| Number(bound).to_string())
                }
                Style::OpenMetrics => {
                    Bounds::new(family.bounds(), |bound| Canonical(bound).to_string())
                }
            };
            let (head, series) = family.parts(name);
            match self.style {
                Style::Prometheus => exposition::header(out, &head),
                Style::OpenMetrics => open_metrics::header(out, &head),
            }
            Current {
                head,
                bounds,
                series,
            }
        });
        if self.current.is_none()
            && !mem::replace(&mut self.has_ended, true)
            && self.style == Style::OpenMetrics
        {
            out.push_str(open_metrics::END);
        }
        self.current.is_some()
    }
}
