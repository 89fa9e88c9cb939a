use std::{error::Error, fmt, marker::PhantomData};

use tracing::field::{Field, Visit};

use crate::{
    decimal::{decimal, signed},
    encode::{Chain, Encode},
    line::Line,
    redaction::REDACTED,
    sites::{Name, SpeltAs},
    value::{Rules, Scratch, float, literal},
};

/// Where recorded fields go.
pub(crate) trait Take {
    /// Takes a field, or leaves its value unspelt. `value` appends it, with the help of memory of which it may make any use.
    fn take<E: Encode>(
        &mut self,
        name: &'static str,
        value: impl FnOnce(&mut Vec<u8>, &mut Scratch),
    );
}

/// Spells the fields of an event or a span.
pub(crate) struct Recorder<'a, E, T> {
    into: T,
    rules: &'a Rules,
    format: PhantomData<E>,
}

impl<'a, E, T> Recorder<'a, E, T> {
    pub(crate) const fn new(into: T, rules: &'a Rules) -> Self {
        Self {
            into,
            rules,
            format: PhantomData,
        }
    }
}

impl<E: Encode, T: Take> Recorder<'_, E, T> {
    /// Spells a value, unless the name of the field says that it is a secret.
    #[inline]
    fn open(&mut self, field: &Field, value: impl FnOnce(&Rules, &mut Vec<u8>, &mut Scratch)) {
        let (name, rules) = (field.name(), self.rules);
        if rules.redaction.hides(name) {
            self.into.take::<E>(name, |out, _| E::text(out, REDACTED));
        } else {
            self.into
                .take::<E>(name, |out, scratch| value(rules, out, scratch));
        }
    }

    fn show(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.open(field, |rules, out, scratch| {
            rules.shown::<E>(out, scratch, value);
        });
    }
}

impl<E: Encode, T: Take> Visit for Recorder<'_, E, T> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.open(field, |_, out, _| float::<E>(out, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.open(field, |_, out, _| signed(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.open(field, |_, out, _| decimal(out, value));
    }

    /// A number that few readers of JSON can take is text.
    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.show(field, format_args!("{value}")),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.show(field, format_args!("{value}")),
        }
    }

    /// Tells at most that there is a secret.
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.into
            .take::<E>(field.name(), |out, _| literal(out, value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.open(field, |rules, out, scratch| {
            rules.text::<E>(out, scratch, value);
        });
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.open(field, |rules, out, scratch| {
            rules.bytes::<E>(out, scratch, value);
        });
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.show(field, format_args!("{}", Chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.show(field, format_args!("{value:?}"));
    }
}

/// Spells the fields of an event of a call, whose names are known: neither are they spelt anew, nor looked for among those before, nor
/// are constants read for secrets.
pub(crate) struct CallRecorder<'a, E> {
    line: &'a mut Line,
    rules: &'a Rules,
    fields: &'static [Name],
    format: PhantomData<E>,
}

impl<'a, E: SpeltAs> CallRecorder<'a, E> {
    pub(crate) const fn new(line: &'a mut Line, rules: &'a Rules, fields: &'static [Name]) -> Self {
        Self {
            line,
            rules,
            fields,
            format: PhantomData,
        }
    }

    #[inline]
    fn open(
        &mut self,
        field: &Field,
        value: impl FnOnce(&Name, &Rules, &mut Vec<u8>, &mut Scratch),
    ) {
        let index = field.index();
        let Some(name) = self.fields.get(index) else {
            return;
        };
        let is_hidden = match self.rules.hidden.get(index) {
            Some(hidden) => *hidden,
            None => self.rules.redaction.hides(name.name),
        };
        if is_hidden {
            self.line
                .known(E::of(name), |out, _| E::text(out, REDACTED));
        } else {
            let rules = self.rules;
            self.line
                .known(E::of(name), |out, scratch| value(name, rules, out, scratch));
        }
    }
}

impl<E: SpeltAs> Visit for CallRecorder<'_, E> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.open(field, |_, _, out, _| float::<E>(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.open(field, |_, _, out, _| decimal(out, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.open(field, |_, _, out, _| literal(out, value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.open(field, |name, rules, out, scratch| {
            if name.is_constant {
                out.extend_from_slice(E::QUOTE.as_bytes());
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(E::QUOTE.as_bytes());
            } else {
                rules.text::<E>(out, scratch, value);
            }
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.open(field, |_, rules, out, scratch| {
            rules.shown::<E>(out, scratch, format_args!("{value:?}"));
        });
    }
}
