//! A small parser of the Prometheus text format, written after its specification and not after the code that it tests.
//!
//! It panics on a line that is not in the format.

pub(crate) mod open;

use std::collections::BTreeMap;

use towerkit_metrics::Registry;

type Labels = BTreeMap<String, String>;

#[derive(Debug)]
pub(crate) struct Scraped {
    samples: Vec<(String, Labels, f64)>,
    help: BTreeMap<String, String>,
    types: BTreeMap<String, String>,
}

impl Scraped {
    pub(crate) fn of(registry: &Registry) -> Self {
        Self::parse(&registry.render())
    }

    pub(crate) fn parse(text: &str) -> Self {
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "the last line ends"
        );
        let mut scraped = Self {
            samples: Vec::new(),
            help: BTreeMap::new(),
            types: BTreeMap::new(),
        };
        for line in text.split_terminator('\n') {
            scraped.line(line);
        }
        scraped
    }

    fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            let before = self.help.insert(name.to_owned(), unescape(help));
            assert_eq!(before, None, "one HELP for each metric");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let before = self.types.insert(name.to_owned(), kind.to_owned());
            assert_eq!(before, None, "one TYPE for each metric");
        } else {
            self.sample(line);
        }
    }

    fn sample(&mut self, line: &str) {
        let name_ends = line.find(['{', ' ']).expect("a name ends");
        let (name, rest) = line.split_at(name_ends);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => label_set(rest),
            None => (Labels::new(), rest),
        };
        let value = value
            .strip_prefix(' ')
            .expect("a space stands before the value");
        let value = number(value);
        assert!(self.has_type(name), "{name} has a TYPE");
        let known = self
            .samples
            .iter()
            .any(|(n, l, _)| n == name && *l == labels);
        assert!(!known, "{name} {labels:?} occurs once");
        self.samples.push((name.to_owned(), labels, value));
    }

    fn has_type(&self, name: &str) -> bool {
        let of_histogram = |part| {
            let base = name.strip_suffix(part)?;
            self.types.get(base).filter(|kind| *kind == "histogram")
        };
        self.types.contains_key(name)
            || ["_bucket", "_sum", "_count"]
                .into_iter()
                .any(|part| of_histogram(part).is_some())
    }

    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let owned = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let found = self
            .samples
            .iter()
            .find(|(n, l, _)| n == name && *l == owned);
        found.map(|(_, _, value)| *value)
    }

    /// The values of a metric, in the order in which they stand.
    pub(crate) fn all(&self, name: &str) -> Vec<f64> {
        let named = self.samples.iter().filter(|(n, _, _)| n == name);
        named.map(|(_, _, value)| *value).collect()
    }

    pub(crate) fn series(&self, name: &str) -> usize {
        self.all(name).len()
    }

    /// The values that a label of a metric takes.
    pub(crate) fn values_of(&self, name: &str, label: &str) -> Vec<&str> {
        let named = self.samples.iter().filter(|(n, _, _)| n == name);
        let mut values: Vec<_> = named.map(|(_, labels, _)| labels[label].as_str()).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.types.keys().map(String::as_str).collect()
    }

    pub(crate) fn help(&self, name: &str) -> Option<&str> {
        self.help.get(name).map(String::as_str)
    }
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        number => number.parse().expect("a number"),
    }
}

/// Reads labels up to and including the closing brace, and returns the rest.
fn label_set(mut rest: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    loop {
        let (name, after) = rest.split_once("=\"").expect("a label has a value");
        let (value, after) = quoted(after);
        let before = labels.insert(name.to_owned(), value);
        assert_eq!(before, None, "a label occurs once");
        if let Some(after) = after.strip_prefix('}') {
            return (labels, after);
        }
        rest = after
            .strip_prefix(',')
            .expect("a comma or a brace follows a label");
    }
}

/// Reads an escaped value up to and including its closing quote, and returns the rest.
fn quoted(text: &str) -> (String, &str) {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' if !escaped => return (unescape(&text[..at]), &text[at + 1..]),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    panic!("a value ends with a quote: {text}");
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(other @ ('\\' | '"')) => other,
                other => panic!("an escape that is none: {other:?}"),
            },
            other => other,
        });
    }
    out
}
