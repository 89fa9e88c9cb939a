use std::fmt::Display;

use towerkit_metrics::{HistogramSnapshot, Value};

use crate::{
    packet_buffer::PacketBuffer,
    quantile::{middle, sample_rate},
    sent_state::{Field, SentValue},
    series::Series,
    text,
};

/// The line format of [statsd](https://github.com/statsd/statsd/blob/master/docs/metric_types.md) and its dialects: `app.calls_total:3|c`.
///
/// | metric | line |
/// |---|---|
/// | counter | the increase since the last push, if there is one |
/// | gauge | the value |
/// | histogram | counters or samples, see [`Histograms`] |
///
/// The original statsd has no tags. There tags and labels become levels of the name, `app.calls_total.method.GET`, in which every
/// character except ASCII letters, digits, `_` and `-` becomes `_`. If that gives two series the same name, their counters add up. In the
/// other dialects special characters in tags become `_`.
#[derive(Debug, Clone)]
pub struct Statsd {
    dialect: Dialect,
    prefix: String,
    tags: Vec<(String, String)>,
    histograms: Histograms,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Plain,
    Datadog,
    Influx,
}

/// The representation of a histogram in the dialects of [`Statsd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Histograms {
    /// Counters for the number of values (`name.count`), their sum (`name.sum`) and the values in each bucket (`name.bucket.0_005`, or
    /// `name.bucket` with the tag `upper_bound:0.005`; the last bucket is `inf`). The default.
    ///
    /// Counters are exact, and the counters of many processes add up.
    #[default]
    Counters,
    /// One sample for each bucket with new values: the middle of the bucket, with a sample rate for their number, `name:320|ms|@0.125`.
    ///
    /// Use samples with receivers that compute percentiles and apply the sample rate: the Datadog agent, [Telegraf] and the
    /// [statsd exporter] of Prometheus. Etsy's statsd applies the rate to counts, but not to percentiles.
    ///
    /// In the original dialect samples are timers (`|ms`), and metrics in seconds are sent in milliseconds. The other dialects have
    /// histograms (`|h`) in the unit of the metric. Values below 0 become 0, except for the Datadog agent.
    ///
    /// [Telegraf]: https://docs.influxdata.com/telegraf/v1/input-plugins/statsd/
    /// [statsd exporter]: https://github.com/prometheus/statsd_exporter
    Samples,
}

impl Statsd {
    /// Writes lines for Etsy's statsd and compatible receivers, without tags.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Dialect::Plain)
    }

    /// Writes lines for the Datadog agent, in the format of [DogStatsD]: `app.calls_total:3|c|#method:GET`.
    ///
    /// [DogStatsD]: https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/
    #[must_use]
    pub fn dogstatsd() -> Self {
        Self::of(Dialect::Datadog)
    }

    /// Writes lines for [Telegraf](https://docs.influxdata.com/telegraf/v1/input-plugins/statsd/) with tags as in InfluxDB:
    /// `app.calls_total,method=GET:3|c`.
    ///
    /// Telegraf truncates the increase of a counter to a whole number. So the sum of a histogram is sent in whole numbers, and the
    /// fraction remains for a later push.
    #[must_use]
    pub fn influx() -> Self {
        Self::of(Dialect::Influx)
    }

    fn of(dialect: Dialect) -> Self {
        Self {
            dialect,
            prefix: String::new(),
            tags: Vec::new(),
            histograms: Histograms::default(),
        }
    }

    /// Adds `prefix`, such as `"app."`, in front of every name; empty by default.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.to_owned();
        self
    }

    /// Adds a tag to every line, before the tags of the series. A label of the same name replaces it.
    #[must_use]
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        text::set_tag(&mut self.tags, name, value);
        self
    }

    /// Sets the representation of histograms; [`Histograms::Counters`] by default.
    #[must_use]
    pub fn histograms(mut self, histograms: Histograms) -> Self {
        self.histograms = histograms;
        self
    }

    pub(crate) fn write_series(&self, series: &Series<'_>, buffer: &mut PacketBuffer) {
        match series.value {
            Value::Counter(value) => {
                self.write_counter(series, "", None, Field::Count, *value, buffer);
            }
            Value::Gauge(value) => self.write_gauge(series, *value, buffer),
            Value::Histogram(values) => match self.histograms {
                Histograms::Counters => self.write_counters(series, values, buffer),
                Histograms::Samples => self.write_samples(series, values, buffer),
            },
        }
    }

    fn write_counter(
        &self,
        series: &Series<'_>,
        part: &str,
        bound: Option<&str>,
        field: Field,
        now: u64,
        buffer: &mut PacketBuffer,
    ) {
        let (change, sent) = series.sent.count(field, now);
        if change > 0 {
            buffer.push_line(&self.line(series, part, bound, change, "c"), &[sent]);
        }
    }

    fn write_gauge(&self, series: &Series<'_>, value: i64, buffer: &mut PacketBuffer) {
        let line = self.line(series, "", None, value, "g");
        if value < 0 && self.dialect != Dialect::Datadog {
            // A sign makes a gauge relative, except for the Datadog agent.
            let zero = self.line(series, "", None, 0, "g");
            buffer.push_line(&format!("{zero}\n{line}"), &[]);
        } else {
            buffer.push_line(&line, &[]);
        }
    }

    fn write_counters(
        &self,
        series: &Series<'_>,
        values: &HistogramSnapshot,
        buffer: &mut PacketBuffer,
    ) {
        self.write_counter(series, "count", None, Field::Count, values.count(), buffer);
        let (change, sent) = match self.dialect {
            Dialect::Influx => series.sent.whole_sum(values.sum()),
            Dialect::Plain | Dialect::Datadog => series.sent.sum(values.sum()),
        };
        if change.is_finite() && change != 0.0 {
            buffer.push_line(&self.line(series, "sum", None, change, "c"), &[sent]);
        }
        for (index, count) in values.counts().iter().enumerate() {
            let bound = match values.bounds().get(index) {
                Some(bound) => bound.to_string(),
                None => "inf".to_owned(),
            };
            let field = Field::Bucket(index);
            self.write_counter(series, "bucket", Some(&bound), field, *count, buffer);
        }
    }

    fn write_samples(
        &self,
        series: &Series<'_>,
        values: &HistogramSnapshot,
        buffer: &mut PacketBuffer,
    ) {
        for (index, count) in values.counts().iter().enumerate() {
            let (change, sent) = series.sent.count(Field::Bucket(index), *count);
            if let (1.., Some(middle)) = (change, middle(values.bounds(), index)) {
                self.write_sample(series, middle, change, sent, buffer);
            }
        }
    }

    fn write_sample(
        &self,
        series: &Series<'_>,
        value: f64,
        count: u64,
        sent: SentValue,
        buffer: &mut PacketBuffer,
    ) {
        let (value, kind) = match self.dialect {
            Dialect::Plain if series.is_seconds => (millis(value), "ms"),
            Dialect::Plain => (value.max(0.0), "ms"),
            Dialect::Influx => (value.max(0.0), "h"),
            Dialect::Datadog => (value, "h"),
        };
        let kind = match count {
            1 => kind.to_owned(),
            _ => format!("{kind}|@{}", sample_rate(count)),
        };
        buffer.push_line(&self.line(series, "", None, value, &kind), &[sent]);
    }

    fn line(
        &self,
        series: &Series<'_>,
        part: &str,
        bound: Option<&str>,
        value: impl Display,
        kind: &str,
    ) -> String {
        let mut line = String::new();
        text::write_name(&mut line, &self.prefix);
        text::write_name(&mut line, series.name);
        if self.dialect == Dialect::Plain {
            text::write_levels(&mut line, &self.tags, &series.labels);
        }
        if !part.is_empty() {
            line.push('.');
            line.push_str(part);
        }
        match self.dialect {
            Dialect::Plain => {
                if let Some(bound) = bound {
                    line.push('.');
                    text::write_level(&mut line, bound);
                }
                text::write_args(&mut line, format_args!(":{value}|{kind}"));
            }
            Dialect::Datadog => {
                text::write_args(&mut line, format_args!(":{value}|{kind}"));
                self.write_tags(&mut line, series, bound, "|#", ',', ':');
            }
            Dialect::Influx => {
                self.write_tags(&mut line, series, bound, ",", ',', '=');
                text::write_args(&mut line, format_args!(":{value}|{kind}"));
            }
        }
        line
    }

    fn write_tags(
        &self,
        line: &mut String,
        series: &Series<'_>,
        bound: Option<&str>,
        start: &str,
        separator: char,
        assign: char,
    ) {
        let mut tags = text::merge_tags(&self.tags, &series.labels);
        tags.extend(bound.map(|bound| ("upper_bound", bound)));
        for (index, (name, value)) in tags.into_iter().enumerate() {
            if index == 0 {
                line.push_str(start);
            } else {
                line.push(separator);
            }
            text::write_name(line, name);
            line.push(assign);
            text::write_replaced(line, value, |c| {
                text::is_safe(c) && !"|#:,=@;\\\"'".contains(c)
            });
        }
    }
}

impl Default for Statsd {
    fn default() -> Self {
        Self::new()
    }
}

/// Converts seconds to milliseconds, at least 0.
fn millis(seconds: f64) -> f64 {
    // Rounded to a nanosecond, so that 0.0025 s are 2.5 ms and not 2.5000000000000004.
    (seconds.max(0.0) * 1e9).round() / 1e6
}
