use std::{
    io,
    io::{Stderr, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    time::SystemTime,
};

use tracing::{Event, Level, Metadata, Subscriber, span};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Context, registry::LookupSpan};

use crate::{
    Background, LengthLimits, LogGuard, LogQueue, Redaction,
    encode::Encode,
    json::Json,
    line::{All, Fields, HEAD, Line, MESSAGE, Message},
    logfmt::Logfmt,
    record::{CallRecorder, Recorder},
    sites::{Sites, SpeltAs},
    spans,
    timestamp::timestamp,
    value::{Rules, literal},
};

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `key=value` pairs, as go-logfmt spells them.
    Logfmt,
    /// One JSON object a line (RFC 8259).
    Json,
}

/// Writes each event as one line: a layer for a registry of `tracing-subscriber`.
///
/// [`subscriber`](crate::subscriber()) sets up everything; take this to combine it with other layers. See the [crate docs](crate#lines)
/// for what a line looks like.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt;
/// use towerkit_log::{Format, LineFormatter};
///
/// let subscriber = tracing_subscriber::registry().with(LineFormatter::new(Format::Json));
/// # let _ = subscriber;
/// ```
#[derive(Debug, Clone)]
pub struct LineFormatter<W = fn() -> Stderr> {
    format: Format,
    writer: W,
    spans: bool,
    colors: bool,
    rules: Rules,
}

impl LineFormatter {
    /// Writes to stderr, without the fields of spans.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            writer: io::stderr,
            spans: false,
            colors: false,
            rules: Rules::default(),
        }
    }
}

impl<W> LineFormatter<W> {
    /// Writes to `writer`; to stderr by default. Each line is one `write_all`.
    ///
    /// An error or a panic of the writer loses the line and nothing else.
    #[must_use]
    pub fn writer<V>(self, writer: V) -> LineFormatter<V>
    where
        V: for<'a> MakeWriter<'a> + 'static,
    {
        LineFormatter {
            format: self.format,
            writer,
            spans: self.spans,
            colors: self.colors,
            rules: self.rules,
        }
    }

    /// Writes to a queue, in the place of the writer.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub(crate) fn background(
        self,
        background: Background,
    ) -> io::Result<(LineFormatter<LogQueue>, LogGuard)>
    where
        W: for<'a> MakeWriter<'a> + Send + 'static,
    {
        let (queue, guard) = background.start(self.format, self.writer)?;
        let lines = LineFormatter {
            format: self.format,
            writer: queue,
            spans: self.spans,
            colors: self.colors,
            rules: self.rules,
        };
        Ok((lines, guard))
    }

    /// Shows levels in colours, in logfmt: for a terminal, not for a file; not by default.
    ///
    /// Values cannot colour anything, as they are escaped in any case.
    #[must_use]
    pub fn colors(mut self, colors: bool) -> Self {
        self.colors = colors;
        self
    }

    /// Sets what is never written; [`Redaction::new`] by default.
    #[must_use]
    pub fn redaction(mut self, redaction: Redaction) -> Self {
        self.rules.redact(redaction);
        self
    }

    /// Sets how long values and lines may become; [`LengthLimits::new`] by default.
    #[must_use]
    pub fn length_limits(mut self, caps: LengthLimits) -> Self {
        self.rules.caps = caps;
        self
    }

    /// Adds to each event the fields of the spans around it, the nearest span first; not by default.
    #[must_use]
    pub fn spans(mut self) -> Self {
        self.spans = true;
        self
    }

    fn line<'a, E: SpeltAs, S>(
        &self,
        line: &'a mut Line,
        event: &Event<'_>,
        context: &Context<'_, S>,
    ) -> &'a [u8]
    where
        S: Subscriber + for<'b> LookupSpan<'b>,
    {
        let metadata = event.metadata();
        let record = record_of_log(event);
        let target = record.as_ref().map_or(metadata.target(), Metadata::target);
        let name = level_name(
            *metadata.level(),
            self.colors && self.format == Format::Logfmt,
        );
        head::<E>(line, self.rules.caps, name, target);
        if let Some(fields) = Sites::told(metadata) {
            event.record(&mut CallRecorder::<E>::new(line, &self.rules, fields));
        } else if record.is_some() {
            event.record(&mut Recorder::<E, _>::new(Message(line), &self.rules));
        } else if begins_with_message(metadata) {
            event.record(&mut Recorder::<E, _>::new(All(line), &self.rules));
        } else {
            event.record(&mut Recorder::<E, _>::new(Message(line), &self.rules));
            event.record(&mut Recorder::<E, _>::new(Fields(line), &self.rules));
        }
        if self.spans {
            spans::append::<E, _>(line, event, context);
        }
        line.end::<E>()
    }
}

impl<W> LineFormatter<W>
where
    W: for<'a> MakeWriter<'a>,
{
    fn write(&self, metadata: &Metadata<'_>, line: &[u8]) {
        let write = || self.writer.make_writer_for(metadata).write_all(line);
        // A log that cannot be written fails nobody's call.
        let _ = catch_unwind(AssertUnwindSafe(write));
    }
}

impl<S, W> Layer<S> for LineFormatter<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        if let Some(span) = context.span(id).filter(|_| self.spans) {
            match self.format {
                Format::Logfmt => spans::begin::<Logfmt, _>(attributes, &span, &self.rules),
                Format::Json => spans::begin::<Json, _>(attributes, &span, &self.rules),
            }
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id).filter(|_| self.spans) {
            match self.format {
                Format::Logfmt => spans::record::<Logfmt, _>(values, &span, &self.rules),
                Format::Json => spans::record::<Json, _>(values, &span, &self.rules),
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        Line::with(|line| {
            let line = match self.format {
                Format::Logfmt => self.line::<Logfmt, _>(line, event, &context),
                Format::Json => self.line::<Json, _>(line, event, &context),
            };
            self.write(event.metadata(), line);
        });
    }
}

/// Returns what a record of the crate `log` says of itself, if the event is one: its target, for that of the bridge.
fn record_of_log<'a>(event: &'a Event<'_>) -> Option<Metadata<'a>> {
    if event.metadata().target() != "log" {
        return None;
    }
    event.normalized_metadata()
}

/// Whether no field stands before the message, as where a macro puts it.
fn begins_with_message(metadata: &Metadata<'_>) -> bool {
    let mut names = metadata.fields().iter().map(|field| field.name());
    names.next() == Some(MESSAGE) && names.all(|name| name != MESSAGE)
}

/// Begins a line.
fn head<E: Encode>(line: &mut Line, caps: LengthLimits, level: &'static str, target: &str) {
    line.start::<E>(caps);
    let [ts, name, of] = HEAD;
    line.plain::<E>(ts, &timestamp(SystemTime::now()));
    line.plain::<E>(name, level.as_bytes());
    line.text::<E>(of, target);
}

/// Returns a line of one field, for fuzzers: the names in events are constants. No part of the API.
#[doc(hidden)]
#[must_use]
pub fn line_of(format: Format, name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Line::with(|line| {
        out.extend_from_slice(match format {
            Format::Logfmt => line_as::<Logfmt>(line, name, value),
            Format::Json => line_as::<Json>(line, name, value),
        });
    });
    out
}

fn line_as<'a, E: Encode>(line: &'a mut Line, name: &str, value: &[u8]) -> &'a [u8] {
    let rules = Rules::default();
    line.start::<E>(rules.caps);
    line.field::<E>(name, |out, scratch| rules.bytes::<E>(out, scratch, value));
    line.end::<E>()
}

/// Appends a line that says how many were dropped.
pub(crate) fn dropped_line(format: Format, dropped: u64, out: &mut Vec<u8>) {
    match format {
        Format::Logfmt => dropped_line_as::<Logfmt>(dropped, out),
        Format::Json => dropped_line_as::<Json>(dropped, out),
    }
}

fn dropped_line_as<E: Encode>(dropped: u64, out: &mut Vec<u8>) {
    let mut count = Vec::new();
    literal(&mut count, dropped);
    Line::with(|line| {
        head::<E>(line, LengthLimits::new(), "warn", "towerkit::log");
        line.text::<E>("msg", "lines dropped");
        line.spelt::<E>("dropped", &count);
        out.extend_from_slice(line.end::<E>());
    });
}

fn level_name(level: Level, in_color: bool) -> &'static str {
    let [plain, colored] = match level {
        Level::ERROR => ["error", "\x1b[31merror\x1b[0m"],
        Level::WARN => ["warn", "\x1b[33mwarn\x1b[0m"],
        Level::INFO => ["info", "\x1b[32minfo\x1b[0m"],
        Level::DEBUG => ["debug", "\x1b[34mdebug\x1b[0m"],
        Level::TRACE => ["trace", "\x1b[35mtrace\x1b[0m"],
    };
    if in_color { colored } else { plain }
}
