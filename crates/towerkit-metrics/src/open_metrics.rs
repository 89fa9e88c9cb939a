//! The [OpenMetrics text format, version 1.0.0](https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md).

use std::{fmt, fmt::Write};

use towerkit_core::Hex;

use crate::{
    HistogramSnapshot, MetricFamily, MetricKind, Sample, Value,
    exemplars::Exemplar,
    prometheus_text::{
        BucketLabels, PrometheusNumber, label_set, write_escaped, write_line, write_sample,
    },
    reserved_names::counter_base_name,
    snapshot::unit,
};

/// The last line of the text.
pub(crate) const END: &str = "# EOF\n";

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
        Value::Histogram(values) => write_histogram(out, name, labels, bounds, values),
    }
}

/// Returns the name and the type of a family. The name of a counter omits `_total`.
fn family_name(family: &MetricFamily) -> (&str, &'static str) {
    match (family.kind(), counter_base_name(family.name())) {
        (MetricKind::Counter, Some(counter_base_name)) => (counter_base_name, "counter"),
        (MetricKind::Counter, None) => (family.name(), "unknown"),
        (kind, _) => (family.name(), kind.as_str()),
    }
}

/// Writes the lines before the series of a metric.
pub(crate) fn write_header(out: &mut String, family: &MetricFamily) {
    let (name, kind) = family_name(family);
    write_line(out, format_args!("# TYPE {name} {kind}"));
    // The format requires that the family name ends in the unit.
    if let Some(unit) = unit(name).filter(|unit| name.ends_with(unit)) {
        write_line(out, format_args!("# UNIT {name} {unit}"));
    }
    if !family.help().is_empty() {
        let _ = write!(out, "# HELP {name} ");
        write_escaped(out, family.help(), true);
        out.push('\n');
    }
}

fn write_histogram(
    out: &mut String,
    name: &str,
    labels: &str,
    bounds: &BucketLabels,
    values: &HistogramSnapshot,
) {
    bounds.write(out, name, labels, values, |out, n| {
        if let Some(Some(exemplar)) = values.exemplars.get(n) {
            write_exemplar(out, exemplar);
        }
    });
    // The sum is a counter in this format: it is omitted if it could decrease.
    let rises = values.bounds().first().is_none_or(|bound| *bound >= 0.0);
    if rises && values.sum() >= 0.0 {
        write_sample(out, &format!("{name}_count"), labels, values.count());
        write_sample(
            out,
            &format!("{name}_sum"),
            labels,
            PrometheusNumber(values.sum()),
        );
    }
}

/// A bucket bound as a canonical number of the specification: as Go's `%g` prints it, with a decimal point if it has no exponent.
pub(crate) struct CanonicalNumber(pub(crate) f64);

impl fmt::Display for CanonicalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_finite() {
            return PrometheusNumber(self.0).fmt(f);
        }
        let scientific = format!("{:e}", self.0);
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        match exponent.parse().unwrap_or(0) {
            -4..6 => write!(f, "{:?}", self.0),
            exponent => {
                let sign = if exponent < 0 { '-' } else { '+' };
                write!(f, "{digits}e{sign}{:02}", i32::abs(exponent))
            }
        }
    }
}

/// Writes an [`Exemplar`] at the end of a line.
fn write_exemplar(out: &mut String, exemplar: &Exemplar) {
    let trace = Hex::<32>::new(&exemplar.ids.trace);
    let span = Hex::<16>::new(&exemplar.ids.span);
    let value = PrometheusNumber(exemplar.value);
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        " # {{trace_id=\"{trace}\",span_id=\"{span}\"}} {value}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The examples of the specification.
    #[test]
    fn bounds_are_written_as_in_the_specification() {
        let examples = "0.0 0.001 0.002 0.01 0.1 0.9 0.95 0.99 0.999 1.0 1.7 10.0 1e-10 1e-09 1e-05 0.0001 100000.0 \
                        1e+06 1e+10 1e+23 1.1e+23 -1.0 -1e-05 1.048576e+06 262144.0 +Inf";
        for example in examples.split(' ') {
            let bound: f64 = example.parse().unwrap();
            assert_eq!(CanonicalNumber(bound).to_string(), example);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_written_bound_is_parsed_back_unchanged(bound in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
            let text = CanonicalNumber(bound).to_string();
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bound.to_bits());
            prop_assert!(text.contains(['.', 'e']));
            prop_assert!(text.len() <= 25);
        }
    }
}
