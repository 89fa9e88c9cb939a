use std::{
    io,
    io::{Stderr, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    time::SystemTime,
};

use tracing::{Event, Level, Metadata, Subscriber, span};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Context, registry::LookupSpan};

use crate::{
    encode::Encode,
    json::Json,
    line::{Fields, Line, Message},
    logfmt::Logfmt,
    record::Recorder,
    spans,
    timestamp::timestamp,
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
/// use towerkit_log::{Format, Lines};
///
/// let subscriber = tracing_subscriber::registry().with(Lines::new(Format::Json));
/// # let _ = subscriber;
/// ```
#[derive(Debug, Clone)]
pub struct Lines<W = fn() -> Stderr> {
    format: Format,
    writer: W,
    spans: bool,
}

impl Lines {
    /// Writes to stderr, without the fields of spans.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            writer: io::stderr,
            spans: false,
        }
    }
}

impl<W> Lines<W> {
    /// Writes to `writer`; to stderr by default. Each line is one `write_all`.
    ///
    /// An error or a panic of the writer loses the line and nothing else.
    #[must_use]
    pub fn writer<V>(self, writer: V) -> Lines<V>
    where
        V: for<'a> MakeWriter<'a> + 'static,
    {
        Lines {
            format: self.format,
            writer,
            spans: self.spans,
        }
    }

    /// Adds to each event the fields of the spans around it, the nearest span first; not by default.
    #[must_use]
    pub fn spans(mut self) -> Self {
        self.spans = true;
        self
    }

    fn line<'a, E: Encode, S>(
        &self,
        line: &'a mut Line,
        event: &Event<'_>,
        context: &Context<'_, S>,
    ) -> &'a [u8]
    where
        S: Subscriber + for<'b> LookupSpan<'b>,
    {
        let metadata = event.metadata();
        line.start::<E>();
        line.plain::<E>("ts", &timestamp(SystemTime::now()));
        line.plain::<E>("level", level_name(*metadata.level()).as_bytes());
        line.text::<E>("target", metadata.target());
        event.record(&mut Recorder::<E, _>::new(Message(line)));
        event.record(&mut Recorder::<E, _>::new(Fields(line)));
        if self.spans {
            spans::append::<E, _>(line, event, context);
        }
        line.end::<E>()
    }
}

impl<W> Lines<W>
where
    W: for<'a> MakeWriter<'a>,
{
    fn write(&self, metadata: &Metadata<'_>, line: &[u8]) {
        let write = || self.writer.make_writer_for(metadata).write_all(line);
        // A log that cannot be written fails nobody's call.
        let _ = catch_unwind(AssertUnwindSafe(write));
    }
}

impl<S, W> Layer<S> for Lines<W>
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
                Format::Logfmt => spans::begin::<Logfmt, _>(attributes, &span),
                Format::Json => spans::begin::<Json, _>(attributes, &span),
            }
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id).filter(|_| self.spans) {
            match self.format {
                Format::Logfmt => spans::record::<Logfmt, _>(values, &span),
                Format::Json => spans::record::<Json, _>(values, &span),
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

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}
