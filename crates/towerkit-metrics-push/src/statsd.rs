use std::fmt::{Display, Write};

use towerkit_metrics::{HistogramSnapshot, Value};

use crate::{
    ledger::{Cell, Mark},
    packer::Packer,
    quantile::{middle, rate},
    series::Series,
    text,
};

/// The lines of statsd: `app.calls_total:3|c`.
///
/// A counter says by how much it rose since the last push, and nothing if it did not. A gauge says its value. What a histogram says is
/// up to [`histograms`](Self::histograms).
///
/// Statsd itself knows no tags: these and labels become levels of the name, `app.calls_total.method.GET`, in which every character but ASCII
/// letters, digits, `_` and `-` is `_`. Two series that this makes one add up, which is right for all but gauges. In tags, characters
/// that have a meaning are `_`.
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
    Dog,
    Influx,
}

/// What is told of a histogram in the formats of statsd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Histograms {
    /// Counters: how many values there were (`name.count`), what they add up to (`name.sum`), and how many were in each bucket
    /// (`name.bucket.0_005`, with tags `name.bucket` and `upper_bound:0.005`; `inf` is the last). The default.
    ///
    /// This is exact, loses nothing, and those of many processes add up.
    #[default]
    Counters,
    /// Samples: one for each bucket that got values, with the middle of the bucket as its value and a sample rate that says how many
    /// values it stands for: `name:320|ms|@0.125`.
    ///
    /// For receivers that know the rate of samples and compute percentiles of their own, as the agent of Datadog, Telegraf and the
    /// exporter of Prometheus do. Etsy's counts by the rate, but its percentiles take each sample for one value. Plain statsd has
    /// timers: what is in seconds is sent in milliseconds. The others have histograms (`|h`), in the unit of the metric. Only the agent
    /// of Datadog takes values below 0; to others they are 0.
    Samples,
}

impl Statsd {
    /// Writes lines for Etsy's statsd and all that understand its lines, without tags.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Dialect::Plain)
    }

    /// Writes lines for the agent of Datadog, with tags: `app.calls_total:3|c|#method:GET`.
    #[must_use]
    pub fn dogstatsd() -> Self {
        Self::of(Dialect::Dog)
    }

    /// Writes lines for Telegraf, with tags as InfluxDB has them: `app.calls_total,method=GET:3|c`.
    ///
    /// Telegraf cuts what a counter rises by to a whole number. So the sum of a histogram rises by whole numbers, and what is left is
    /// told when it has become one.
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

    /// Puts `prefix` before every name, as it is: `"app."`. There is none by default.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.to_owned();
        self
    }

    /// Adds a tag to every line, before those of the series. A label of the same name takes its place.
    #[must_use]
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        text::add_tag(&mut self.tags, name, value);
        self
    }

    /// Chooses what is told of histograms: [`Histograms::Counters`] by default.
    #[must_use]
    pub fn histograms(mut self, histograms: Histograms) -> Self {
        self.histograms = histograms;
        self
    }

    pub(crate) fn series(&self, series: &Series<'_>, packer: &mut Packer) {
        match series.value {
            Value::Counter(value) => self.counter(series, "", None, Cell::Count, *value, packer),
            Value::Gauge(value) => self.gauge(series, *value, packer),
            Value::Histogram(values) => match self.histograms {
                Histograms::Counters => self.counters(series, values, packer),
                Histograms::Samples => self.samples(series, values, packer),
            },
        }
    }

    fn counter(
        &self,
        series: &Series<'_>,
        part: &str,
        bound: Option<&str>,
        cell: Cell,
        now: u64,
        packer: &mut Packer,
    ) {
        let (by, mark) = series.told.count(cell, now);
        if by > 0 {
            packer.line(&self.line(series, part, bound, by, "c"), &[mark]);
        }
    }

    fn gauge(&self, series: &Series<'_>, value: i64, packer: &mut Packer) {
        let line = self.line(series, "", None, value, "g");
        if value < 0 && self.dialect != Dialect::Dog {
            // A sign makes it relative, to all but the agent of Datadog.
            let zero = self.line(series, "", None, 0, "g");
            packer.line(&format!("{zero}\n{line}"), &[]);
        } else {
            packer.line(&line, &[]);
        }
    }

    fn counters(&self, series: &Series<'_>, values: &HistogramSnapshot, packer: &mut Packer) {
        self.counter(series, "count", None, Cell::Count, values.count(), packer);
        let (by, mark) = match self.dialect {
            Dialect::Influx => series.told.whole_sum(values.sum()),
            Dialect::Plain | Dialect::Dog => series.told.sum(values.sum()),
        };
        if by.is_finite() && by != 0.0 {
            packer.line(&self.line(series, "sum", None, by, "c"), &[mark]);
        }
        for (index, count) in values.counts().iter().enumerate() {
            let bound = match values.bounds().get(index) {
                Some(bound) => bound.to_string(),
                None => "inf".to_owned(),
            };
            let cell = Cell::Bucket(index);
            self.counter(series, "bucket", Some(&bound), cell, *count, packer);
        }
    }

    fn samples(&self, series: &Series<'_>, values: &HistogramSnapshot, packer: &mut Packer) {
        for (index, count) in values.counts().iter().enumerate() {
            let (by, mark) = series.told.count(Cell::Bucket(index), *count);
            if let (1.., Some(middle)) = (by, middle(values.bounds(), index)) {
                self.sample(series, middle, by, mark, packer);
            }
        }
    }

    fn sample(&self, series: &Series<'_>, value: f64, count: u64, mark: Mark, packer: &mut Packer) {
        let (value, kind) = match self.dialect {
            Dialect::Plain if series.is_seconds => (millis(value), "ms"),
            Dialect::Plain => (value.max(0.0), "ms"),
            Dialect::Influx => (value.max(0.0), "h"),
            Dialect::Dog => (value, "h"),
        };
        let kind = match count {
            1 => kind.to_owned(),
            _ => format!("{kind}|@{}", rate(count)),
        };
        packer.line(&self.line(series, "", None, value, &kind), &[mark]);
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
        text::name(&mut line, &self.prefix);
        text::name(&mut line, series.name);
        if self.dialect == Dialect::Plain {
            levels(&mut line, &self.tags, series);
        }
        if !part.is_empty() {
            line.push('.');
            line.push_str(part);
        }
        match self.dialect {
            Dialect::Plain => {
                if let Some(bound) = bound {
                    line.push('.');
                    text::level(&mut line, bound);
                }
                put(&mut line, format_args!(":{value}|{kind}"));
            }
            Dialect::Dog => {
                put(&mut line, format_args!(":{value}|{kind}"));
                self.tags(&mut line, series, bound, "|#", ',', ':');
            }
            Dialect::Influx => {
                self.tags(&mut line, series, bound, ",", ',', '=');
                put(&mut line, format_args!(":{value}|{kind}"));
            }
        }
        line
    }

    fn tags(
        &self,
        line: &mut String,
        series: &Series<'_>,
        bound: Option<&str>,
        first: &str,
        between: char,
        is: char,
    ) {
        let mut tags = text::tags(&self.tags, &series.labels);
        tags.extend(bound.map(|bound| ("upper_bound", bound)));
        for (index, (name, value)) in tags.into_iter().enumerate() {
            if index == 0 {
                line.push_str(first);
            } else {
                line.push(between);
            }
            text::name(line, name);
            line.push(is);
            text::clean(line, value, |c| {
                text::is_plain(c) && !"|#:,=@;\\\"'".contains(c)
            });
        }
    }
}

impl Default for Statsd {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes tags and labels as levels of a name: with their names, so that one that is empty moves no other.
pub(crate) fn levels(line: &mut String, tags: &[(String, String)], series: &Series<'_>) {
    for (name, value) in text::tags(tags, &series.labels) {
        line.push('.');
        text::level(line, name);
        line.push('.');
        text::level(line, value);
    }
}

fn millis(seconds: f64) -> f64 {
    // To the nanosecond, so that 0.0025 s are 2.5 ms and not 2.5000000000000004.
    (seconds.max(0.0) * 1e9).round() / 1e6
}

pub(crate) fn put(line: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = line.write_fmt(text);
}
