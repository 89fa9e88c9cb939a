//! The Prometheus text format, version 0.0.4.

use std::{fmt, fmt::Write};

/// A number as Prometheus reads it.
pub(crate) struct Number(pub(crate) f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_infinite() {
            f.write_str(if self.0 > 0.0 { "+Inf" } else { "-Inf" })
        } else {
            self.0.fmt(f)
        }
    }
}

/// The label set of a series as it stands between the braces, escaped once and for all.
pub(crate) fn label_set<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut set = String::new();
    for (name, value) in labels {
        if !set.is_empty() {
            set.push(',');
        }
        set.push_str(name);
        set.push_str("=\"");
        escape(&mut set, value, true);
        set.push('"');
    }
    set
}

/// Writes the two lines above the series of a metric.
pub(crate) fn header(out: &mut String, name: &str, help: &str, kind: &str) {
    if !help.is_empty() {
        out.push_str("# HELP ");
        out.push_str(name);
        out.push(' ');
        escape(out, help, false);
        out.push('\n');
    }
    line(out, format_args!("# TYPE {name} {kind}"));
}

/// Writes the line of one number.
pub(crate) fn sample(out: &mut String, name: &str, labels: &str, value: impl fmt::Display) {
    if labels.is_empty() {
        line(out, format_args!("{name} {value}"));
    } else {
        line(out, format_args!("{name}{{{labels}}} {value}"));
    }
}

/// Writes the line of one bucket.
pub(crate) fn bucket(out: &mut String, name: &str, labels: &str, bound: f64, count: u64) {
    let comma = if labels.is_empty() { "" } else { "," };
    let bound = Number(bound);
    line(
        out,
        format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"),
    );
}

fn line(out: &mut String, line: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{line}");
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

/// Whether Prometheus takes `name` for a metric.
pub(crate) fn is_metric_name(name: &str) -> bool {
    let body = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().all(body) && name.starts_with(|c: char| !c.is_ascii_digit())
}

/// Whether Prometheus takes `name` for a label; names that start with two underscores are its own.
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
            .map(|number| Number(number).to_string());
        assert_eq!(shown, ["0.005", "1", "-2.5", "+Inf", "-Inf", "NaN"]);
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
