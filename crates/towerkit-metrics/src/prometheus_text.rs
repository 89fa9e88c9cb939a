//! The Prometheus [text format, version 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/).

use std::{fmt, fmt::Write};

use crate::{HistogramSnapshot, MetricFamily, Sample, Value};

/// Writes one series.
pub(crate) fn write_series(
    out: &mut String,
    family: &MetricFamily,
    bounds: &BucketLabels,
    series: &Sample,
) {
    let (name, labels) = (family.name(), &label_set(family, series));
    match series.value() {
        Value::Counter(value) => write_sample(out, name, labels, value),
        Value::Gauge(value) => write_sample(out, name, labels, value),
        Value::Histogram(values) => {
            bounds.write(out, name, labels, values, |_, _| {});
            write_sample(
                out,
                &format!("{name}_sum"),
                labels,
                PrometheusNumber(values.sum()),
            );
            write_sample(out, &format!("{name}_count"), labels, values.count());
        }
    }
}

/// Writes the lines before the series of a metric.
pub(crate) fn write_header(out: &mut String, family: &MetricFamily) {
    let (name, help) = (family.name(), family.help());
    if !help.is_empty() {
        let _ = write!(out, "# HELP {name} ");
        write_escaped(out, help, false);
        out.push('\n');
    }
    let kind = family.kind().as_str();
    write_line(out, format_args!("# TYPE {name} {kind}"));
}

/// The `le` labels of a histogram, formatted once per metric because formatting a float takes longer than the rest of a line.
#[derive(Debug)]
pub(crate) struct BucketLabels(Vec<String>);

impl BucketLabels {
    /// Formats the bounds of a histogram; other metrics have no bounds.
    pub(crate) fn new(bounds: Option<&[f64]>, shown: impl Fn(f64) -> String) -> Self {
        let all = bounds.map(|bounds| bounds.iter().copied().chain([f64::INFINITY]));
        let shown = |bound| format!("le=\"{}\"}} ", shown(bound));
        Self(all.into_iter().flatten().map(shown).collect())
    }

    /// Writes the buckets of one series; `trailing` appends to the line of each.
    pub(crate) fn write(
        &self,
        out: &mut String,
        name: &str,
        labels: &str,
        values: &HistogramSnapshot,
        trailing: impl Fn(&mut String, usize),
    ) {
        let comma = if labels.is_empty() { "" } else { "," };
        let begin = format!("{name}_bucket{{{labels}{comma}");
        let mut total = 0_u64;
        for (n, (bound, count)) in self.0.iter().zip(values.counts()).enumerate() {
            total = total.wrapping_add(*count);
            out.push_str(&begin);
            out.push_str(bound);
            write_decimal(out, total);
            trailing(out, n);
            out.push('\n');
        }
    }
}

/// Writes an integer without the overhead of [`fmt`].
fn write_decimal(out: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.push_str(str::from_utf8(&digits[first..]).unwrap_or_default());
}

/// A float in the notation of Prometheus.
pub(crate) struct PrometheusNumber(pub(crate) f64);

impl fmt::Display for PrometheusNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_infinite() {
            f.write_str(if self.0 > 0.0 { "+Inf" } else { "-Inf" })
        } else {
            self.0.fmt(f)
        }
    }
}

/// Returns the labels of a series as they are written between the braces.
pub(crate) fn label_set(family: &MetricFamily, series: &Sample) -> String {
    let mut set = String::new();
    for (name, value) in family.labels(series) {
        if !set.is_empty() {
            set.push(',');
        }
        set.push_str(name);
        set.push_str("=\"");
        write_escaped(&mut set, value, true);
        set.push('"');
    }
    set
}

/// Writes the line of one value.
pub(crate) fn write_sample(out: &mut String, name: &str, labels: &str, value: impl fmt::Display) {
    if labels.is_empty() {
        write_line(out, format_args!("{name} {value}"));
    } else {
        write_line(out, format_args!("{name}{{{labels}}} {value}"));
    }
}

pub(crate) fn write_line(out: &mut String, line: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{line}");
}

pub(crate) fn write_escaped(out: &mut String, text: &str, quotes: bool) {
    if !text.contains(['\\', '\n', '"']) {
        return out.push_str(text);
    }
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

/// Returns true if `name` is a valid [metric name](https://prometheus.io/docs/concepts/data_model/).
pub(crate) fn is_metric_name(name: &str) -> bool {
    let body = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().all(body) && name.starts_with(|c: char| !c.is_ascii_digit())
}

/// Returns true if `name` is a valid label name. Names that start with two underscores are reserved for Prometheus.
pub(crate) fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.contains(':') && !name.starts_with("__")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MT-03.
    #[test]
    fn numbers_are_written_as_prometheus_reads_them() {
        let shown = [0.005, 1.0, -2.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]
            .map(|number| PrometheusNumber(number).to_string());
        assert_eq!(shown, ["0.005", "1", "-2.5", "+Inf", "-Inf", "NaN"]);
    }

    #[test]
    fn counts_are_written_in_decimal() {
        let powers = (0..20).map(|n| 10_u64.pow(n));
        for number in powers
            .flat_map(|power| [power - 1, power, power + 7])
            .chain([u64::MAX])
        {
            let mut out = String::from("x");
            write_decimal(&mut out, number);
            assert_eq!(out, format!("x{number}"));
        }
    }

    #[test]
    fn names_are_checked() {
        assert!(["a", "_a9", "a:b_c"].into_iter().all(is_metric_name));
        assert!(
            !["", "9a", "a-b", "ä", "a b"]
                .into_iter()
                .any(is_metric_name)
        );
        assert!(["a", "_a9"].into_iter().all(is_label_name));
        assert!(!["", "a:b", "__a", "9"].into_iter().any(is_label_name));
    }
}
