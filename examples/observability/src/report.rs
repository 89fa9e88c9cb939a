use std::fmt;

use towerkit::core::BoxError;

use crate::{calls::Calls, collector::Received, prometheus::Queried, tree::Tree};

/// What all receivers say of the same calls.
#[derive(Debug)]
pub(crate) struct Report {
    calls: Calls,
    trace: String,
    tree: String,
    lines: Vec<String>,
    metrics: Vec<String>,
    queried: Option<Queried>,
}

impl Report {
    /// Puts together what there is, or says what is missing.
    pub(crate) fn new(
        calls: Calls,
        spans: &[Received],
        log: &str,
        scrape: &str,
        queried: Option<Queried>,
    ) -> Result<Self, BoxError> {
        let trace = relayed(spans).ok_or("no span of trace-relay has arrived")?;
        let tree = Tree::new(spans, trace);
        let trace = hex(trace);
        let lines = log.lines().filter(|line| line.contains(&trace));
        let report = Self {
            calls,
            tree: tree.to_string(),
            lines: lines.map(str::to_owned).collect(),
            metrics: scrape
                .lines()
                .filter(|line| is_shown(line))
                .map(str::to_owned)
                .collect(),
            trace,
            queried,
        };
        report.missing(&tree).map_or(Ok(()), Err)?;
        Ok(report)
    }

    fn missing(&self, tree: &Tree<'_>) -> Option<BoxError> {
        let exemplar = |line: &String| line.contains("# {trace_id=");
        let queried = self.queried.as_ref();
        let missing = if self.calls.statuses() != [200, 200, 400, 404, 429] {
            "the calls end otherwise"
        } else if (tree.len(), tree.depth()) != (6, 4) {
            "the trace has other spans"
        } else if self.lines.len() != 2 {
            "the log has other lines of the trace"
        } else if !self.metrics.iter().any(exemplar) {
            "the metrics have no exemplar"
        } else if queried.is_some_and(|queried| queried.traces.is_empty()) {
            "Prometheus has no exemplar"
        } else {
            return None;
        };
        Some(format!("{missing}:\n{self}").into())
    }
}

/// The trace of the call that goes through all services.
fn relayed(spans: &[Received]) -> Option<&[u8]> {
    let relayed = spans.iter().find(|span| span.service == "trace-relay")?;
    Some(&relayed.span.trace_id)
}

/// Buckets are shown only for their exemplars.
fn is_shown(line: &str) -> bool {
    line.contains(" # {") || !line.starts_with('#') && !line.contains("_bucket{")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let section = |f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]| {
            writeln!(f, "{title}")?;
            lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
            writeln!(f)
        };
        section(f, "Calls", &self.calls.lines().collect::<Vec<_>>())?;
        writeln!(f, "Trace {}\n{}", self.trace, self.tree)?;
        section(f, "Its lines in the log of stringsvc", &self.lines)?;
        section(
            f,
            "Metrics of stringsvc, buckets left out but for exemplars",
            &self.metrics,
        )?;
        let Some(queried) = &self.queried else {
            return Ok(());
        };
        let calls = queried
            .calls
            .iter()
            .map(|(outcome, calls)| format!("{outcome}: {calls}"));
        section(
            f,
            "Calls by outcome, says Prometheus",
            &calls.collect::<Vec<_>>(),
        )?;
        section(f, "Traces of its exemplars", &queried.traces)
    }
}
