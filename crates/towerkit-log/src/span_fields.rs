use std::marker::PhantomData;

use tracing::{Event, Subscriber, span};
use tracing_subscriber::{
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use crate::{
    encode::Encode,
    line::Line,
    value::{FieldSink, ValueBuffers, ValueWriter},
    visitor::FieldVisitor,
};

/// The fields of a span, encoded in the format `E` and stored in the span's extensions.
#[derive(Debug)]
struct SpanFields<E> {
    fields: Vec<(&'static str, Vec<u8>)>,
    format: PhantomData<E>,
}

impl<E> SpanFields<E> {
    const fn new() -> Self {
        Self {
            fields: Vec::new(),
            format: PhantomData,
        }
    }

    /// Adds a field, or replaces the field of the same name.
    fn set(&mut self, name: &'static str, value: Vec<u8>) {
        match self.fields.iter_mut().find(|field| field.0 == name) {
            Some(field) => field.1 = value,
            None => self.fields.push((name, value)),
        }
    }
}

impl<E> FieldSink for &mut SpanFields<E> {
    fn add<F: Encode>(
        &mut self,
        name: &'static str,
        value: impl FnOnce(&mut Vec<u8>, &mut ValueBuffers),
    ) {
        let mut encoded = Vec::new();
        value(&mut encoded, &mut ValueBuffers::new());
        self.set(name, encoded);
    }
}

/// Stores the fields of a new span.
pub(crate) fn store_new<E: Encode, S>(
    attributes: &span::Attributes<'_>,
    span: &SpanRef<'_, S>,
    writer: &ValueWriter,
) where
    S: for<'a> LookupSpan<'a>,
{
    let mut fields = SpanFields::<E>::new();
    attributes.record(&mut FieldVisitor::<E, _>::new(&mut fields, writer));
    span.extensions_mut().replace(fields);
}

/// Stores fields that are recorded after the start of a span.
pub(crate) fn store_recorded<E: Encode, S>(
    values: &span::Record<'_>,
    span: &SpanRef<'_, S>,
    writer: &ValueWriter,
) where
    S: for<'a> LookupSpan<'a>,
{
    // Values are formatted before the lock is taken, because a value may log.
    let mut recorded = SpanFields::<E>::new();
    values.record(&mut FieldVisitor::<E, _>::new(&mut recorded, writer));
    let mut extensions = span.extensions_mut();
    if let Some(fields) = extensions.get_mut::<SpanFields<E>>() {
        for (name, value) in recorded.fields {
            fields.set(name, value);
        }
    }
}

/// Appends the fields of all spans around an event, starting with the innermost.
pub(crate) fn append<E: Encode, S>(line: &mut Line, event: &Event<'_>, context: &Context<'_, S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    for span in context.event_scope(event).into_iter().flatten() {
        if let Some(stored) = span.extensions().get::<SpanFields<E>>() {
            for (name, value) in &stored.fields {
                line.encoded::<E>(name, value);
            }
        }
    }
}
