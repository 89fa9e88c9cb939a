use std::time::Duration;

use towerkit_metrics::Value;

use crate::{
    packet_buffer::PacketBuffer,
    series::{QUANTILES, Series},
    text,
};

/// The [line protocol] of InfluxDB: `app_calls_total,method=GET count=3 1700000000000000000`.
///
/// | metric | fields |
/// |---|---|
/// | counter | `count`, which increases until the process restarts |
/// | gauge | `value` |
/// | histogram | `count` and `sum`, which increase, and `p50`, `p90`, `p95` and `p99`, [estimates](crate#quantiles) of the quantiles of the values since the last push |
///
/// Graph a counter with [`non_negative_derivative`]. A lost point then costs only its resolution, and a point that is written twice is
/// stored once. (go-kit sends the increase since the last point instead.) All fields are floats, as in go-kit.
///
/// Labels become tags. Commas, spaces and equals signs in them are escaped; control characters and backslashes, for which the protocol
/// has no escape, become `_`. The reserved tags `time`, `_field` and `_measurement` get a trailing `_`.
///
/// [line protocol]: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
/// [`non_negative_derivative`]: https://docs.influxdata.com/influxdb/v1/query_language/functions/#non_negative_derivative
#[derive(Debug, Clone, Default)]
pub struct Influx {
    prefix: String,
    tags: Vec<(String, String)>,
}

impl Influx {
    /// Writes lines with the labels as tags.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `prefix`, such as `"app_"`, in front of every name; empty by default.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.to_owned();
        self
    }

    /// Adds a tag to every line. A label of the same name replaces it.
    #[must_use]
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        text::set_tag(&mut self.tags, name, value);
        self
    }

    pub(crate) fn write_series(
        &self,
        series: &Series<'_>,
        time: Duration,
        buffer: &mut PacketBuffer,
    ) {
        let mut line = String::new();
        text::write_name(&mut line, &self.prefix);
        text::write_name(&mut line, series.name);
        self.write_tags(&mut line, series);
        line.push(' ');
        let mut sent = Vec::new();
        match series.value {
            Value::Counter(value) => text::write_args(&mut line, format_args!("count={value}")),
            Value::Gauge(value) => text::write_args(&mut line, format_args!("value={value}")),
            Value::Histogram(values) => {
                text::write_args(&mut line, format_args!("count={}", values.count()));
                if values.sum().is_finite() {
                    text::write_args(&mut line, format_args!(",sum={}", values.sum()));
                }
                if let Some((found, counts)) = series.quantiles(values) {
                    for ((_, field), value) in QUANTILES.iter().zip(found) {
                        text::write_args(&mut line, format_args!(",{field}={value}"));
                    }
                    sent = counts;
                }
            }
        }
        text::write_args(&mut line, format_args!(" {}", time.as_nanos()));
        buffer.push_line(&line, &sent);
    }

    fn write_tags(&self, line: &mut String, series: &Series<'_>) {
        let mut tags = text::merge_tags(&self.tags, &series.labels);
        // InfluxDB recommends sorted tags, and sorts others itself.
        tags.sort_unstable();
        for (name, value) in tags {
            line.push(',');
            text::write_name(line, name);
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
