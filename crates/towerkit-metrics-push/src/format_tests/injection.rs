//! MT-06: names and labels with any characters give one line for each number, and the receiver reads the intended values.

use std::collections::BTreeMap;

use proptest::{prelude::*, test_runner::RngSeed};
use towerkit_metrics::{Buckets, Registry};

use super::{
    lines,
    parsers::{Point, carbon, influx, statsd, telegraf},
};
use crate::{Format, Graphite, Histograms, Influx, Statsd};

/// Generates text with many special characters.
fn special_text() -> impl Strategy<Value = String> {
    let special = "|#:,=@;\\\"'~{}[]*/. \t\n\r\u{1c}\u{85}\u{a0}\u{2028}\u{200b}\u{7f}\0é";
    let special: Vec<char> = special.chars().collect();
    let one = prop_oneof![
        3 => prop::sample::select(special),
        2 => prop::char::range('a', 'e'),
        1 => any::<char>(),
    ];
    prop::collection::vec(one, 0..8).prop_map(String::from_iter)
}

#[derive(Debug, Clone)]
struct Case {
    base: String,
    prefix: String,
    labels: Vec<(&'static str, String)>,
    global: (String, String),
}

fn case() -> impl Strategy<Value = Case> {
    let value = || special_text();
    let labels = (value(), value(), value(), value());
    let global = (
        prop_oneof![special_text(), Just("path".to_owned())],
        special_text(),
    );
    (
        "[a-zA-Z_:][a-zA-Z0-9_:]{0,6}",
        special_text(),
        labels,
        global,
    )
        .prop_map(|(base, prefix, (a, b, c, d), global)| Case {
            base,
            prefix,
            labels: vec![("path", a), ("time", b), ("name", c), ("x_1", d)],
            global,
        })
}

impl Case {
    fn registry(&self) -> Registry {
        let registry = Registry::new();
        let labels: Vec<_> = self
            .labels
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let name = |part: &str| format!("{}{part}", self.base);
        registry.counter(&name("_c"), "", &labels).unwrap().add(3);
        registry.gauge(&name("_g"), "", &labels).unwrap().set(-5);
        let buckets = Buckets::new([1.0]).unwrap();
        let histogram = registry.histogram(&name("_h"), "", &labels, &buckets);
        let histogram = histogram.unwrap();
        (0..4).for_each(|_| histogram.observe(0.5));
        registry
    }

    /// Returns the expected tags of a line with their values.
    fn tags(&self) -> BTreeMap<String, String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let (name, value) = &self.global;
        let mut name: String = name
            .chars()
            .map(|c| if is_name(c) { c } else { '_' })
            .collect();
        if name.is_empty() {
            name.push('_');
        }
        let mut tags = BTreeMap::from([(name, value.clone())]);
        for (name, value) in &self.labels {
            if !value.is_empty() {
                tags.insert((*name).to_owned(), value.clone());
            }
        }
        tags.retain(|_, value| !value.is_empty());
        tags
    }

    /// Parses all lines, and checks their values and tags.
    fn check(
        &self,
        format: impl Into<Format>,
        read: fn(&str) -> Result<Point, String>,
        expected: &[(&str, &str, f64)],
        is_tag: impl Fn(&str, &str, &str) -> bool,
    ) -> Result<(), TestCaseError> {
        let lines = lines(format, &self.registry());
        let mut seen = Vec::new();
        for line in &lines {
            let point =
                read(line).map_err(|why| TestCaseError::fail(format!("{why}: {line:?}")))?;
            let mut tags = point.tags.clone();
            tags.remove("upper_bound");
            let wanted = self.tags();
            prop_assert_eq!(tags.len(), wanted.len(), "{:?}", line);
            for (name, value) in &wanted {
                let found = tags.get(name).or_else(|| tags.get(&format!("{name}_")));
                let found =
                    found.ok_or_else(|| TestCaseError::fail(format!("{name}: {line:?}")))?;
                prop_assert!(is_tag(name, value, found), "{:?} {:?}", value, found);
            }
            seen.extend(
                point
                    .values
                    .into_iter()
                    .map(|(kind, value)| (point.name.clone(), kind, value)),
            );
        }
        prop_assert_eq!(seen.len(), expected.len(), "{:?}", lines);
        for ((name, kind, value), (end, wanted_kind, wanted)) in seen.iter().zip(expected) {
            prop_assert!(name.ends_with(end), "{} {}", name, end);
            prop_assert_eq!((kind.as_str(), *value), (*wanted_kind, *wanted));
        }
        Ok(())
    }
}

/// Returns true if `found` is `value` with some characters replaced by `_`, but none that is kept.
fn is_cleaned(value: &str, found: &str, is_kept: impl Fn(char) -> bool) -> bool {
    value.chars().count() == found.chars().count()
        && value.chars().zip(found.chars()).all(|(was, is)| {
            if is_kept(was) {
                was == is
            } else {
                is == '_' || was == is
            }
        })
}

const STATSD: [(&str, &str, f64); 6] = [
    ("_c", "c", 3.0),
    ("_g", "g", 0.0),
    ("_g", "g", -5.0),
    ("_h.count", "c", 4.0),
    ("_h.sum", "c", 2.0),
    ("_h.bucket", "c", 4.0),
];

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(5),
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_text_breaks_a_line_of_dogstatsd(case in case()) {
        let (name, value) = &case.global;
        let dog = Statsd::dogstatsd().prefix(&case.prefix).tag(name, value);
        let expected: Vec<_> = STATSD.into_iter().filter(|(_, _, value)| *value != 0.0).collect();
        let is_tag = |_: &str, value: &str, found: &str| is_cleaned(value, found, |c| c.is_ascii_alphanumeric() || "/.{}".contains(c));
        case.check(dog, statsd, &expected, is_tag)?;
    }

    #[test]
    fn no_text_breaks_a_line_of_telegraf(case in case()) {
        let (name, value) = &case.global;
        let influx = Statsd::influx().prefix(&case.prefix).tag(name, value);
        let is_tag = |_: &str, value: &str, found: &str| is_cleaned(value, found, |c| c.is_ascii_alphanumeric() || "/.{}".contains(c));
        case.check(influx, telegraf, &STATSD, is_tag)?;
    }

    #[test]
    fn no_text_breaks_a_line_of_statsd(case in case()) {
        for histograms in [Histograms::Counters, Histograms::Samples] {
            let plain = Statsd::new().prefix(&case.prefix).histograms(histograms);
            for line in lines(plain, &case.registry()) {
                let point = statsd(&line).map_err(|why| TestCaseError::fail(format!("{why}: {line:?}")))?;
                prop_assert!(point.tags.is_empty());
                let labels = case.labels.iter().filter(|(_, value)| !value.is_empty()).count();
                let prefix = case.prefix.matches('.').count();
                let parts = point.name.matches('.').count() - prefix;
                prop_assert!((2 * labels..=2 * labels + 2).contains(&parts), "{}", line);
            }
        }
    }

    #[test]
    fn no_text_breaks_a_line_of_graphite(case in case()) {
        let expected = [
            ("_c", "", 3.0),
            ("_g", "", -5.0),
            ("_h.count", "", 4.0),
            ("_h.sum", "", 2.0),
            ("_h.p50", "", 0.5),
            ("_h.p90", "", 0.9),
            ("_h.p95", "", 0.95),
            ("_h.p99", "", 0.99),
        ];
        let (name, value) = &case.global;
        let graphite = Graphite::new().prefix(&case.prefix).tag(name, value);
        let is_tag = |_: &str, value: &str, found: &str| is_cleaned(value, found, |c| c.is_ascii_graphic() && !";\"~".contains(c));
        case.check(graphite.clone(), carbon, &expected, is_tag)?;
        for line in lines(graphite.levels(), &case.registry()) {
            let point = carbon(&line).map_err(|why| TestCaseError::fail(format!("{why}: {line:?}")))?;
            prop_assert!(point.tags.is_empty());
        }
    }

    /// All characters except control characters and backslashes arrive unchanged.
    #[test]
    fn no_text_breaks_a_line_of_influxdb(case in case()) {
        let expected = [
            ("_c", "count", 3.0),
            ("_g", "value", -5.0),
            ("_h", "count", 4.0),
            ("_h", "sum", 2.0),
            ("_h", "p50", 0.5),
            ("_h", "p90", 0.9),
            ("_h", "p95", 0.95),
            ("_h", "p99", 0.99),
        ];
        let (name, value) = &case.global;
        let format = Influx::new().prefix(&case.prefix).tag(name, value);
        let is_tag = |_: &str, value: &str, found: &str| is_cleaned(value, found, |c| !c.is_control() && c != '\\');
        case.check(format, influx, &expected, is_tag)?;
    }
}
