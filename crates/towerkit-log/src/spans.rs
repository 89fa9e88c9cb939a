use std::marker::PhantomData;

use tracing::{Subscriber, span};
use tracing_subscriber::{
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use crate::{
    encode::Encode,
    line::Line,
    record::{Recorder, Take},
    value::{Rules, Scratch},
};

/// The fields of a span, spelt as `E` spells them when they were recorded.
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

    /// Adds a field, or changes the one of that name.
    fn put(&mut self, name: &'static str, value: Vec<u8>) {
        match self.fields.iter_mut().find(|field| field.0 == name) {
            Some(field) => field.1 = value,
            None => self.fields.push((name, value)),
        }
    }
}

impl<E> Take for &mut SpanFields<E> {
    fn take<F: Encode>(
        &mut self,
        name: &'static str,
        value: impl FnOnce(&mut Vec<u8>, &mut Scratch),
    ) {
        let mut spelt = Vec::new();
        value(&mut spelt, &mut Scratch::new());
        self.put(name, spelt);
    }
}

/// Keeps the fields with which a span begins.
pub(crate) fn begin<E: Encode, S>(
    attributes: &span::Attributes<'_>,
    span: &SpanRef<'_, S>,
    rules: &Rules,
) where
    S: for<'a> LookupSpan<'a>,
{
    let mut fields = SpanFields::<E>::new();
    attributes.record(&mut Recorder::<E, _>::new(&mut fields, rules));
    span.extensions_mut().replace(fields);
}

/// Keeps the fields that a span is given later.
pub(crate) fn record<E: Encode, S>(values: &span::Record<'_>, span: &SpanRef<'_, S>, rules: &Rules)
where
    S: for<'a> LookupSpan<'a>,
{
    // Values are shown before the lock is taken: they may log.
    let mut later = SpanFields::<E>::new();
    values.record(&mut Recorder::<E, _>::new(&mut later, rules));
    let mut extensions = span.extensions_mut();
    if let Some(fields) = extensions.get_mut::<SpanFields<E>>() {
        for (name, value) in later.fields {
            fields.put(name, value);
        }
    }
}

/// Appends the fields of all spans around an event, the nearest first.
pub(crate) fn append<E: Encode, S>(
    line: &mut Line,
    event: &tracing::Event<'_>,
    context: &Context<'_, S>,
) where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    for span in context.event_scope(event).into_iter().flatten() {
        if let Some(kept) = span.extensions().get::<SpanFields<E>>() {
            for (name, value) in &kept.fields {
                line.spelt::<E>(name, value);
            }
        }
    }
}
