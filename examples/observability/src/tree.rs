use std::fmt;

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};

use crate::collector::Received;

/// The spans of one trace, each below the one that caused it.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    spans: Vec<&'a Received>,
}

impl<'a> Tree<'a> {
    /// Takes the spans of the trace in the order in which they began.
    pub(crate) fn new(all: &'a [Received], trace: &[u8]) -> Self {
        let of_trace = |received: &&Received| received.span.trace_id == trace;
        let mut spans: Vec<_> = all.iter().filter(of_trace).collect();
        spans.sort_by_key(|received| received.span.start_time_unix_nano);
        Self { spans }
    }

    /// Returns the spans from the root down to one without a child, first children only.
    pub(crate) fn depth(&self) -> usize {
        let mut depth = 0;
        let mut parent: &[u8] = &[];
        while let Some(child) = self.below(parent).next() {
            depth += 1;
            parent = &child.span.span_id;
        }
        depth
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    fn below<'b>(&'b self, parent: &'b [u8]) -> impl Iterator<Item = &'a Received> + 'b {
        let is_child = move |received: &&Received| received.span.parent_span_id == parent;
        self.spans.iter().copied().filter(is_child)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, parent: &[u8], indent: usize) -> fmt::Result {
        for received in self.below(parent) {
            let Received { service, span } = received;
            let (kind, name, millis) = (kind(span), &span.name, millis(span));
            writeln!(f, "{:indent$}{service}: {kind} {name} {millis:.2} ms", "")?;
            self.write(f, &span.span_id, indent + 2)?;
        }
        Ok(())
    }
}

impl fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &[], 2)
    }
}

fn kind(span: &Span) -> &'static str {
    match span.kind() {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        _ => "internal",
    }
}

fn millis(span: &Span) -> f64 {
    let nanos = span
        .end_time_unix_nano
        .saturating_sub(span.start_time_unix_nano);
    nanos as f64 / 1e6
}
