use std::{fmt::Display, time::Duration};

use towerkit_metrics::Value;

use crate::{
    packet_buffer::PacketBuffer,
    sent_state::SentValue,
    series::{QUANTILES, Series},
    text,
};

/// The [plaintext protocol] of Graphite: `app.calls_total;method=GET 3 1700000000`.
///
/// | metric | lines |
/// |---|---|
/// | counter | the value, which increases until the process restarts |
/// | gauge | the value |
/// | histogram | the number of values (`name.count`) and their sum (`name.sum`), which increase, and the quantiles of the values since the last push (`name.p50`, `name.p90`, `name.p95` and `name.p99`), which are [estimates](crate#quantiles) |
///
/// Graph a counter with [`perSecond`] or [`nonNegativeDerivative`]. A lost point then costs only its resolution. (go-kit sends the
/// increase since the last point instead.)
///
/// Labels become [tags], which Graphite supports since version 1.1, or [levels of the name](Self::levels). In tags, white space, control
/// characters, `;`, `"` and a leading `~` become `_`, and a tag `name` becomes `name_`.
///
/// [plaintext protocol]: https://graphite.readthedocs.io/en/latest/feeding-carbon.html#the-plaintext-protocol
/// [`perSecond`]: https://graphite.readthedocs.io/en/latest/functions.html#graphite.render.functions.perSecond
/// [`nonNegativeDerivative`]: https://graphite.readthedocs.io/en/latest/functions.html#graphite.render.functions.nonNegativeDerivative
/// [tags]: https://graphite.readthedocs.io/en/latest/tags.html
#[derive(Debug, Clone, Default)]
pub struct Graphite {
    prefix: String,
    tags: Vec<(String, String)>,
    levels: bool,
}

impl Graphite {
    /// Writes labels as tags.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `prefix`, such as `"app."`, in front of every name; empty by default.
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

    /// Writes tags and labels as levels of the name, for Graphite before 1.1: `app.calls_total.method.GET`.
    ///
    /// Every character except ASCII letters, digits, `_` and `-` becomes `_`. If that gives two series the same name, the last one wins.
    #[must_use]
    pub fn levels(mut self) -> Self {
        self.levels = true;
        self
    }

    pub(crate) fn write_series(
        &self,
        series: &Series<'_>,
        time: Duration,
        buffer: &mut PacketBuffer,
    ) {
        let seconds = time.as_secs();
        match series.value {
            Value::Counter(value) => {
                buffer.push_line(&self.line(series, "", value, seconds), &[]);
            }
            Value::Gauge(value) => buffer.push_line(&self.line(series, "", value, seconds), &[]),
            Value::Histogram(values) => {
                let count = values.count();
                buffer.push_line(&self.line(series, "count", count, seconds), &[]);
                if values.sum().is_finite() {
                    buffer.push_line(&self.line(series, "sum", values.sum(), seconds), &[]);
                }
                if let Some((found, sent)) = series.quantiles(values) {
                    let parts = QUANTILES.iter().zip(found);
                    for (index, ((_, part), value)) in parts.enumerate() {
                        // The first line of the quantiles ends their interval.
                        let sent: &[SentValue] = if index == 0 { &sent } else { &[] };
                        buffer.push_line(&self.line(series, part, value, seconds), sent);
                    }
                }
            }
        }
    }

    fn line(&self, series: &Series<'_>, part: &str, value: impl Display, seconds: u64) -> String {
        let mut line = String::new();
        text::write_name(&mut line, &self.prefix);
        text::write_name(&mut line, series.name);
        if self.levels {
            text::write_levels(&mut line, &self.tags, &series.labels);
        }
        if !part.is_empty() {
            line.push('.');
            line.push_str(part);
        }
        if !self.levels {
            self.write_tags(&mut line, series);
        }
        text::write_args(&mut line, format_args!(" {value} {seconds}"));
        line
    }

    fn write_tags(&self, line: &mut String, series: &Series<'_>) {
        for (name, value) in text::merge_tags(&self.tags, &series.labels) {
            line.push(';');
            text::write_name(line, name);
            if name == "name" {
                // Graphite uses the tag `name` for the name of the metric.
                line.push('_');
            }
            line.push('=');
            let rest = value.strip_prefix('~');
            if rest.is_some() {
                line.push('_');
            }
            // Carbon reads a line that ends with a quotation mark and a brace as OpenMetrics.
            text::write_replaced(line, rest.unwrap_or(value), |c| {
                text::is_safe(c) && !matches!(c, ';' | '"')
            });
        }
    }
}
