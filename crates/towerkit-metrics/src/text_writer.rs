//! Writes the metrics of a registry as text, piece by piece.

use std::{collections::btree_map, mem, sync::Arc};

use crate::{
    MetricFamily,
    family::{Family, Samples},
    open_metrics::{self, CanonicalNumber},
    prometheus_text::{self, BucketLabels, PrometheusNumber},
};

/// The formats that Prometheus reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextFormat {
    /// The Prometheus text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

/// The part of a text that is not written yet. Its creation fixes the list of series; the value of each is read when it is written.
#[derive(Debug)]
pub(crate) struct TextWriter {
    format: TextFormat,
    families: btree_map::IntoIter<Arc<str>, Family>,
    /// The metric that is being written.
    current: Option<Current>,
    has_ended: bool,
}

#[derive(Debug)]
struct Current {
    head: MetricFamily,
    bounds: BucketLabels,
    series: Samples,
}

impl TextWriter {
    pub(crate) fn new(
        format: TextFormat,
        families: impl IntoIterator<IntoIter = btree_map::IntoIter<Arc<str>, Family>>,
    ) -> Self {
        Self {
            format,
            families: families.into_iter(),
            current: None,
            has_ended: false,
        }
    }

    /// Appends whole series until `out` has `enough` bytes; returns true if more series are left.
    pub(crate) fn write(&mut self, out: &mut String, enough: usize) -> bool {
        while out.len() < enough {
            if !self.step(out) {
                return false;
            }
        }
        true
    }

    /// Appends the header of a metric, one of its series, or the end of the text.
    fn step(&mut self, out: &mut String) -> bool {
        if let Some(Current {
            head,
            bounds,
            series,
        }) = &mut self.current
            && let Some(sample) = series.next()
        {
            match self.format {
                TextFormat::Prometheus => prometheus_text::write_series(out, head, bounds, &sample),
                TextFormat::OpenMetrics => open_metrics::write_series(out, head, bounds, &sample),
            }
            return true;
        }
        self.current = self.families.next().map(|(name, family)| {
            let bounds = match self.format {
                TextFormat::Prometheus => {
                    BucketLabels::new(family.bounds(), |bound| PrometheusNumber(bound).to_string())
                }
                TextFormat::OpenMetrics => {
                    BucketLabels::new(family.bounds(), |bound| CanonicalNumber(bound).to_string())
                }
            };
            let (head, series) = family.parts(name);
            match self.format {
                TextFormat::Prometheus => prometheus_text::write_header(out, &head),
                TextFormat::OpenMetrics => open_metrics::write_header(out, &head),
            }
            Current {
                head,
                bounds,
                series,
            }
        });
        if self.current.is_none()
            && !mem::replace(&mut self.has_ended, true)
            && self.format == TextFormat::OpenMetrics
        {
            out.push_str(open_metrics::END);
        }
        self.current.is_some()
    }
}
