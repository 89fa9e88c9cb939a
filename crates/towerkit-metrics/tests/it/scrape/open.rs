//! A small parser of OpenMetrics 1.0.0, written after its specification and not after the code that it tests.
//!
//! It panics on text that violates the format.

use std::collections::BTreeMap;

use super::{Labels, label_set, number, unescape};

#[derive(Debug, Default)]
pub(crate) struct Open {
    pub(crate) families: BTreeMap<String, Family>,
    pub(crate) samples: Vec<Sample>,
    /// The family whose lines are read.
    current: String,
}

#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) unit: Option<String>,
    pub(crate) help: Option<String>,
    has_samples: bool,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    pub(crate) exemplar: Option<(Labels, f64)>,
}

impl Open {
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.strip_suffix("# EOF\n").expect("it ends with EOF");
        assert!(text.is_empty() || text.ends_with('\n'));
        let mut open = Self::default();
        for line in text.split_terminator('\n') {
            match line.strip_prefix("# ") {
                Some(metadata) => open.metadata(metadata),
                None => open.sample(line),
            }
        }
        open
    }

    /// TYPE comes first here, then UNIT, then HELP, and each once.
    fn metadata(&mut self, line: &str) {
        let (what, rest) = line.split_once(' ').unwrap();
        let (name, value) = rest.split_once(' ').unwrap();
        if what == "TYPE" {
            let kind = ["counter", "gauge", "histogram", "unknown"];
            assert!(kind.contains(&value), "{line}");
            let family = Family {
                kind: value.to_owned(),
                ..Family::default()
            };
            let before = self.families.insert(name.to_owned(), family);
            assert!(before.is_none(), "{name} occurs once");
            self.current = name.to_owned();
            return;
        }
        assert_eq!(name, self.current, "{line}");
        let family = self.families.get_mut(name).unwrap();
        assert!(!family.has_samples && family.help.is_none(), "{line}");
        match what {
            "UNIT" => {
                assert!(name.ends_with(&format!("_{value}")), "{line}");
                assert!(family.unit.replace(value.to_owned()).is_none());
            }
            "HELP" => {
                assert!(!value.replace("\\\"", "").contains('"'), "{line}");
                family.help = Some(unescape(value));
            }
            _ => panic!("{line}"),
        }
    }

    fn sample(&mut self, line: &str) {
        let name_ends = line.find(['{', ' ']).expect("a name ends");
        let (name, rest) = line.split_at(name_ends);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => label_set(rest),
            None => (Labels::new(), rest),
        };
        let rest = rest.strip_prefix(' ').expect("a space before the value");
        let (value, exemplar) = match rest.split_once(" # {") {
            Some((value, exemplar)) => (value, Some(read_exemplar(exemplar))),
            None => (rest, None),
        };
        let family = self.families.get_mut(&self.current).expect("a TYPE");
        family.has_samples = true;
        let suffix = name.strip_prefix(&*self.current).expect(line);
        let allowed: &[&str] = match &*family.kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        assert!(allowed.contains(&suffix), "{line}");
        assert!(exemplar.is_none() || suffix == "_bucket", "{line}");
        self.samples.push(Sample {
            name: name.to_owned(),
            labels,
            value: number(value),
            exemplar,
        });
    }

    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.find(name, labels).map(|sample| sample.value)
    }

    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Sample> {
        let owned = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        let owned: Labels = owned.collect();
        let mut named = self.samples.iter().filter(|sample| sample.name == name);
        named.find(|sample| sample.labels == owned)
    }

    /// The exemplars of all buckets, by their `le`.
    pub(crate) fn exemplars(&self) -> Vec<(&str, &Labels, f64)> {
        let samples = self.samples.iter();
        let exemplars = samples.filter_map(|sample| {
            let (labels, value) = sample.exemplar.as_ref()?;
            Some((sample.labels["le"].as_str(), labels, *value))
        });
        exemplars.collect()
    }
}

fn read_exemplar(text: &str) -> (Labels, f64) {
    let (labels, value) = label_set(text);
    let length = |(k, v): (&String, &String)| k.chars().count() + v.chars().count();
    assert!(labels.iter().map(length).sum::<usize>() <= 128);
    (labels, number(value.strip_prefix(' ').unwrap()))
}
