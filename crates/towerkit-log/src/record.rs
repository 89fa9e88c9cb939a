use std::{error::Error, fmt, marker::PhantomData};

use tracing::field::{Field, Visit};

use crate::encode::{Chain, Encode, float, literal, show};

/// Where recorded fields go.
pub(crate) trait Take {
    /// Takes a field, or leaves its value unspelt. `value` appends it, with the help of a string of which it may make any use.
    fn take<E: Encode>(
        &mut self,
        name: &'static str,
        value: impl FnOnce(&mut Vec<u8>, &mut String),
    );
}

/// Spells the fields of an event or a span.
pub(crate) struct Recorder<E, T> {
    into: T,
    format: PhantomData<E>,
}

impl<E, T> Recorder<E, T> {
    pub(crate) const fn new(into: T) -> Self {
        Self {
            into,
            format: PhantomData,
        }
    }
}

impl<E: Encode, T: Take> Recorder<E, T> {
    fn literal(&mut self, field: &Field, value: impl fmt::Display) {
        self.into
            .take::<E>(field.name(), |out, _| literal(out, value));
    }

    fn show(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.into.take::<E>(field.name(), |out, shown| {
            show(shown, value);
            E::text(out, shown);
        });
    }
}

impl<E: Encode, T: Take> Visit for Recorder<E, T> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.into
            .take::<E>(field.name(), |out, _| float::<E>(out, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.literal(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.literal(field, value);
    }

    /// A number that few readers of JSON can take is text.
    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.literal(field, value),
            Err(_) => self.show(field, format_args!("{value}")),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.literal(field, value),
            Err(_) => self.show(field, format_args!("{value}")),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.literal(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.into
            .take::<E>(field.name(), |out, _| E::text(out, value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.show(field, format_args!("{}", Chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.show(field, format_args!("{value:?}"));
    }
}
