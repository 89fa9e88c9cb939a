use std::{collections::HashMap, fmt};

use crate::{Group, Kind, Measured};

/// The allocations of every case, by group and name, as [`Count`](crate::Count) writes them.
#[derive(Debug, Default)]
pub struct Allocations(HashMap<(String, String), f64>);

impl Allocations {
    /// Reads the lines that [`Count`](crate::Count) wrote.
    #[must_use]
    pub fn read(lines: &str) -> Self {
        let read = |line: &str| {
            let mut fields = line.split('\t').map(str::to_owned);
            let case = (fields.next()?, fields.next()?);
            Some((case, fields.next()?.parse().ok()?))
        };
        Self(lines.lines().filter_map(read).collect())
    }

    fn of(&self, group: &str, name: &str) -> Option<f64> {
        self.0.get(&(group.to_owned(), name.to_owned())).copied()
    }
}

/// A group as a table in Markdown.
#[derive(Debug)]
pub struct Table<'a> {
    /// What was measured.
    pub group: &'a Group,
    /// What was counted.
    pub allocations: &'a Allocations,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = &self.group.title;
        writeln!(
            f,
            "| {title} | ns | allocations | future, B | to best peer |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|")?;
        for case in &self.group.cases {
            self.row(f, case)?;
        }
        Ok(())
    }
}

impl Table<'_> {
    fn row(&self, f: &mut fmt::Formatter<'_>, case: &Measured) -> fmt::Result {
        let (name, future) = (case.label.name, case.future);
        let allocations = match self.allocations.of(&self.group.title, name) {
            Some(count) => format!("{count:.0}"),
            None => String::new(),
        };
        let ratio = match case.ratio {
            Some(ratio) => format!("{ratio:.2}"),
            None => String::new(),
        };
        let nanos = match case.label.kind {
            Kind::Bare => format!("{:.1}", case.nanos),
            _ => format!("{:+.1}", case.nanos),
        };
        writeln!(
            f,
            "| {name} | {nanos} | {allocations} | {future} | {ratio} |"
        )
    }
}
