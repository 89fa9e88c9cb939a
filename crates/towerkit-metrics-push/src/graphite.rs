use std::{fmt::Display, time::Duration};

use towerkit_metrics::Value;

use crate::{
    interval::{QUANTILES, quantiles},
    ledger::Mark,
    packer::Packer,
    series::Series,
    statsd::{levels, put},
    text,
};

/// The plaintext lines of Graphite: `app.calls_total;method=GET 3 1700000000`.
///
/// A counter says its value, which only rises until the process restarts: what a graph shows is `perSecond(..)` or
/// `nonNegativeDerivative(..)` of it. So a point that is lost costs no more than its time. (go-kit sends what came since the last point.)
/// A gauge says its value. A histogram says how many values there were (`name.count`) and what they add up to (`name.sum`), both as
/// counters do, and the quantiles of the values since the last push that was sent, `name.p50`, `name.p90`, `name.p95` and `name.p99`,
/// if there were any. [They are estimates](crate#quantiles).
///
/// Labels are tags, which Graphite knows since version 1.1, or [levels of the name](Self::levels). In tags white space, control
/// characters, `;`, `"`, and a `~` at the beginning are `_`, and a tag `name` is `name_`.
#[derive(Debug, Clone, Default)]
pub struct Graphite {
    prefix: String,
    tags: Vec<(String, String)>,
    levels: bool,
}

impl Graphite {
    /// Writes lines with labels as tags.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `prefix` before every name, as it is: `"app."`. There is none by default.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.to_owned();
        self
    }

    /// Adds a tag to every line. A label of the same name takes its place.
    #[must_use]
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        text::add_tag(&mut self.tags, name, value);
        self
    }

    /// Makes tags and labels levels of the name, for Graphite before 1.1: `app.calls_total.method.GET`.
    ///
    /// Every character but ASCII letters, digits, `_` and `-` is `_`. Of two series that this makes one, the last is seen.
    #[must_use]
    pub fn levels(mut self) -> Self {
        self.levels = true;
        self
    }

    pub(crate) fn series(&self, series: &Series<'_>, time: Duration, packer: &mut Packer) {
        let seconds = time.as_secs();
        match series.value {
            Value::Counter(value) => {
                packer.line(&self.line(series, "", value, seconds), &[]);
            }
            Value::Gauge(value) => packer.line(&self.line(series, "", value, seconds), &[]),
            Value::Histogram(values) => {
                let count = values.count();
                packer.line(&self.line(series, "count", count, seconds), &[]);
                if values.sum().is_finite() {
                    packer.line(&self.line(series, "sum", values.sum(), seconds), &[]);
                }
                if let Some((found, marks)) = quantiles(series, values) {
                    let parts = QUANTILES.iter().zip(found);
                    for (index, ((_, part), value)) in parts.enumerate() {
                        // The interval is over once its first line is told.
                        let marks: &[Mark] = if index == 0 { &marks } else { &[] };
                        packer.line(&self.line(series, part, value, seconds), marks);
                    }
                }
            }
        }
    }

    fn line(&self, series: &Series<'_>, part: &str, value: impl Display, seconds: u64) -> String {
        let mut line = String::new();
        text::name(&mut line, &self.prefix);
        text::name(&mut line, series.name);
        if self.levels {
            levels(&mut line, &self.tags, series);
        }
        if !part.is_empty() {
            line.push('.');
            line.push_str(part);
        }
        if !self.levels {
            self.tags(&mut line, series);
        }
        put(&mut line, format_args!(" {value} {seconds}"));
        line
    }

    fn tags(&self, line: &mut String, series: &Series<'_>) {
        for (name, value) in text::tags(&self.tags, &series.labels) {
            line.push(';');
            text::name(line, name);
            if name == "name" {
                // It is the name of the metric.
                line.push('_');
            }
            line.push('=');
            let rest = value.strip_prefix('~');
            if rest.is_some() {
                line.push('_');
            }
            // A quotation mark before a brace at the end would make the line one of OpenMetrics.
            text::clean(line, rest.unwrap_or(value), |c| {
                text::is_plain(c) && !matches!(c, ';' | '"')
            });
        }
    }
}
