use std::time::Duration;

use towerkit_metrics::Value;

use crate::{
    interval::{QUANTILES, quantiles},
    packer::Packer,
    series::Series,
    statsd::put,
    text,
};

/// The line protocol of InfluxDB: `app_calls_total,method=GET count=3 1700000000000000000`.
///
/// A counter is the field `count`, which only rises until the process restarts: what a graph shows is `non_negative_derivative(..)` of
/// it. So a point that is lost costs no more than its time, and one that is written twice is the same point. (go-kit sends what came
/// since the last point.) A gauge is the field `value`. A histogram has the fields `count` and `sum`, as counters do, and `p50`, `p90`,
/// `p95` and `p99`, the quantiles of the values since the last push that was sent, if there were any. [They are
/// estimates](crate#quantiles). All fields are floats, as go-kit's are.
///
/// Labels are tags. Commas, spaces and equals signs in them are escaped; control characters and backslashes, for which the protocol has
/// no escape, are `_`. Tags that InfluxDB keeps for itself, `time`, `_field` and `_measurement`, get a `_` at their end.
#[derive(Debug, Clone, Default)]
pub struct Influx {
    prefix: String,
    tags: Vec<(String, String)>,
}

impl Influx {
    /// Writes lines without a prefix and without tags but the labels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `prefix` before every name, as it is: `"app_"`. There is none by default.
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

    pub(crate) fn series(&self, series: &Series<'_>, time: Duration, packer: &mut Packer) {
        let mut line = String::new();
        text::name(&mut line, &self.prefix);
        text::name(&mut line, series.name);
        self.tags(&mut line, series);
        line.push(' ');
        let mut marks = Vec::new();
        match series.value {
            Value::Counter(value) => put(&mut line, format_args!("count={value}")),
            Value::Gauge(value) => put(&mut line, format_args!("value={value}")),
            Value::Histogram(values) => {
                put(&mut line, format_args!("count={}", values.count()));
                if values.sum().is_finite() {
                    put(&mut line, format_args!(",sum={}", values.sum()));
                }
                if let Some((found, told)) = quantiles(series, values) {
                    for ((_, field), value) in QUANTILES.iter().zip(found) {
                        put(&mut line, format_args!(",{field}={value}"));
                    }
                    marks = told;
                }
            }
        }
        put(&mut line, format_args!(" {}", time.as_nanos()));
        packer.line(&line, &marks);
    }

    fn tags(&self, line: &mut String, series: &Series<'_>) {
        let mut tags = text::tags(&self.tags, &series.labels);
        // As InfluxDB sorts them itself, if they are not.
        tags.sort_unstable();
        for (name, value) in tags {
            line.push(',');
            text::name(line, name);
            if matches!(name, "time" | "_field" | "_measurement") {
                line.push('_');
            }
            line.push('=');
            for c in value.chars() {
                if matches!(c, ',' | ' ' | '=') {
                    line.push('\\');
                }
                line.push(if c.is_control() || c == '\\' { '_' } else { c });
            }
        }
    }
}
