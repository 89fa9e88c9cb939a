use std::{
    io::{self, Stderr, Write},
    panic::{AssertUnwindSafe, catch_unwind},
};

use tracing::{Event, Level, Metadata, Subscriber, span};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Context, registry::LookupSpan};

use crate::{
    Background, Format, LengthLimits, LogGuard, LogQueue, Redaction,
    callsites::{CallsiteSet, FIELDS},
    encode::{Json, Logfmt, MESSAGE},
    line::{EventPart, Line, LineSink},
    span_fields,
    value::ValueWriter,
    visitor::{CallVisitor, EncodeCall, FieldVisitor, RedactedCallFields},
};

/// A [`tracing_subscriber`] layer that writes each event as one line.
///
/// Use it to combine this crate's lines with other layers; [`subscriber()`](crate::subscriber()) sets up a complete subscriber. See
/// [Lines](crate#lines) for the format.
///
/// ```
/// use towerkit_log::{Format, LineFormatter};
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let subscriber = tracing_subscriber::registry().with(LineFormatter::new(Format::Json));
/// # let _ = subscriber;
/// ```
#[derive(Debug, Clone)]
pub struct LineFormatter<W = fn() -> Stderr> {
    writer: W,
    options: Options,
}

#[derive(Debug, Clone)]
struct Options {
    format: Format,
    spans: bool,
    colors: bool,
    values: ValueWriter,
    redacted_call_fields: RedactedCallFields,
}

impl LineFormatter {
    /// Creates a layer that writes to stderr, without the fields of spans.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            writer: io::stderr,
            options: Options {
                format,
                spans: false,
                colors: false,
                values: ValueWriter::default(),
                redacted_call_fields: [false; FIELDS.len()],
            },
        }
    }
}

impl<W> LineFormatter<W> {
    /// Sets the writer; stderr by default. Each line is one [`write_all`](Write::write_all).
    ///
    /// If the writer fails or panics, the line is lost.
    #[must_use]
    pub fn writer<V>(self, writer: V) -> LineFormatter<V>
    where
        V: for<'a> MakeWriter<'a> + 'static,
    {
        LineFormatter {
            writer,
            options: self.options,
        }
    }

    /// Replaces the writer by a queue, and starts a thread that writes to the writer.
    pub(crate) fn background(
        self,
        background: Background,
    ) -> io::Result<(LineFormatter<LogQueue>, LogGuard)>
    where
        W: for<'a> MakeWriter<'a> + Send + 'static,
    {
        let (queue, guard) = background.start(self.options.format, self.writer)?;
        let formatter = LineFormatter {
            writer: queue,
            options: self.options,
        };
        Ok((formatter, guard))
    }

    /// Colors the levels of logfmt lines, for terminals; off by default.
    ///
    /// Values cannot contain colors, because escape sequences in values are escaped.
    #[must_use]
    pub fn colors(mut self, colors: bool) -> Self {
        self.options.colors = colors;
        self
    }

    /// Sets the [`Redaction`] of credentials; [`Redaction::new`] by default.
    #[must_use]
    pub fn redaction(mut self, redaction: Redaction) -> Self {
        self.options.redacted_call_fields = FIELDS.map(|name| redaction.redacts_field(name));
        self.options.values.redaction = redaction;
        self
    }

    /// Sets the [`LengthLimits`] of values and lines; [`LengthLimits::new`] by default.
    #[must_use]
    pub fn length_limits(mut self, limits: LengthLimits) -> Self {
        self.options.values.limits = limits;
        self
    }

    /// Appends the fields of the enclosing [spans](mod@tracing::span) to each event, starting with the innermost; off by default.
    #[must_use]
    pub fn spans(mut self) -> Self {
        self.options.spans = true;
        self
    }
}

impl Options {
    fn write_event<'a, E: EncodeCall, S>(
        &self,
        line: &'a mut Line,
        event: &Event<'_>,
        context: &Context<'_, S>,
    ) -> &'a [u8]
    where
        S: Subscriber + for<'b> LookupSpan<'b>,
    {
        let (metadata, values) = (event.metadata(), &self.values);
        let log_record = log_record_metadata(event);
        let target = log_record
            .as_ref()
            .map_or(metadata.target(), Metadata::target);
        let in_color = self.colors && self.format == Format::Logfmt;
        line.start::<E>(
            values.limits,
            level_name(*metadata.level(), in_color),
            target,
        );

        let record = |line: &mut Line, part| {
            let sink = LineSink { line, part };
            event.record(&mut FieldVisitor::<E, _>::new(sink, values));
        };
        if let Some(fields) = CallsiteSet::current_fields(metadata) {
            let redacted = &self.redacted_call_fields;
            event.record(&mut CallVisitor::<E>::new(line, values, redacted, fields));
        } else if log_record.is_some() {
            // The other fields of the bridge repeat the metadata.
            record(line, EventPart::Message);
        } else if starts_with_message(metadata) {
            record(line, EventPart::All);
        } else {
            record(line, EventPart::Message);
            record(line, EventPart::AllButMessage);
        }
        if self.spans {
            span_fields::append::<E, _>(line, event, context);
        }
        line.finish::<E>()
    }
}

impl<W> LineFormatter<W>
where
    W: for<'a> MakeWriter<'a>,
{
    fn write(&self, metadata: &Metadata<'_>, line: &[u8]) {
        let write = || self.writer.make_writer_for(metadata).write_all(line);
        // An error or a panic of the writer must not reach the code that logs.
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
        let Options { format, values, .. } = &self.options;
        if let Some(span) = context.span(id).filter(|_| self.options.spans) {
            match format {
                Format::Logfmt => span_fields::store_new::<Logfmt, _>(attributes, &span, values),
                Format::Json => span_fields::store_new::<Json, _>(attributes, &span, values),
            }
        }
    }

    fn on_record(&self, id: &span::Id, recorded: &span::Record<'_>, context: Context<'_, S>) {
        let Options { format, values, .. } = &self.options;
        if let Some(span) = context.span(id).filter(|_| self.options.spans) {
            match format {
                Format::Logfmt => span_fields::store_recorded::<Logfmt, _>(recorded, &span, values),
                Format::Json => span_fields::store_recorded::<Json, _>(recorded, &span, values),
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        Line::with_pooled(|line| {
            let options = &self.options;
            let line = match options.format {
                Format::Logfmt => options.write_event::<Logfmt, _>(line, event, &context),
                Format::Json => options.write_event::<Json, _>(line, event, &context),
            };
            self.write(event.metadata(), line);
        });
    }
}

/// Returns the metadata of the record if the event is a record of the crate `log`, sent through `tracing-log`.
fn log_record_metadata<'a>(event: &'a Event<'_>) -> Option<Metadata<'a>> {
    if event.metadata().target() != "log" {
        return None;
    }
    event.normalized_metadata()
}

/// Returns true if the message is the first field and the only message, as in the events of `tracing`'s macros.
fn starts_with_message(metadata: &Metadata<'_>) -> bool {
    let mut names = metadata.fields().iter().map(|field| field.name());
    names.next() == Some(MESSAGE) && names.all(|name| name != MESSAGE)
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
