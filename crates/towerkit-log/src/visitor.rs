use std::{error::Error, fmt, marker::PhantomData};

use tracing::field::{Field, Visit};

use crate::{
    callsites::{CallField, FIELDS},
    encode::{Encode, EncodedName, ErrorChain, Json, Logfmt},
    line::Line,
    number::{push_f64, push_i64, push_literal, push_u64},
    redaction::REDACTED,
    value::{FieldSink, ValueBuffers, ValueWriter},
};

/// Encodes the fields of an event or a span, and adds them to a [`FieldSink`].
pub(crate) struct FieldVisitor<'a, E, T> {
    sink: T,
    writer: &'a ValueWriter,
    format: PhantomData<E>,
}

impl<'a, E, T> FieldVisitor<'a, E, T> {
    pub(crate) const fn new(sink: T, writer: &'a ValueWriter) -> Self {
        Self {
            sink,
            writer,
            format: PhantomData,
        }
    }
}

impl<E: Encode, T: FieldSink> FieldVisitor<'_, E, T> {
    /// Adds a field, with [`REDACTED`] as its value if the name is that of a credential.
    #[inline]
    fn add(
        &mut self,
        field: &Field,
        value: impl FnOnce(&ValueWriter, &mut Vec<u8>, &mut ValueBuffers),
    ) {
        let (name, writer) = (field.name(), self.writer);
        if writer.redaction.redacts_field(name) {
            self.sink.add::<E>(name, |out, _| E::text(out, REDACTED));
        } else {
            self.sink
                .add::<E>(name, |out, buffers| value(writer, out, buffers));
        }
    }

    fn add_formatted(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.add(field, |writer, out, buffers| {
            writer.formatted::<E>(out, buffers, value);
        });
    }
}

impl<E: Encode, T: FieldSink> Visit for FieldVisitor<'_, E, T> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, |_, out, _| push_f64::<E>(out, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, |_, out, _| push_i64(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, |_, out, _| push_u64(out, value));
    }

    /// Writes numbers beyond 64 bits as text, because many JSON parsers cannot represent them.
    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.add_formatted(field, format_args!("{value}")),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.add_formatted(field, format_args!("{value}")),
        }
    }

    /// Writes booleans without redaction: a boolean reveals at most that a credential is present.
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.sink
            .add::<E>(field.name(), |out, _| push_literal(out, value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, |writer, out, buffers| {
            writer.text::<E>(out, buffers, value);
        });
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.add(field, |writer, out, buffers| {
            writer.bytes::<E>(out, buffers, value);
        });
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add_formatted(field, format_args!("{}", ErrorChain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_formatted(field, format_args!("{value:?}"));
    }
}

/// Tells for each of [`FIELDS`] if its value is redacted; all are false unless the application adds such a name.
pub(crate) type RedactedCallFields = [bool; FIELDS.len()];

/// Writes the fields of a call event to a line.
///
/// Unlike [`FieldVisitor`] it neither encodes names, nor searches for duplicates, nor redacts values from a fixed set.
pub(crate) struct CallVisitor<'a, E> {
    line: &'a mut Line,
    writer: &'a ValueWriter,
    redacted: &'a RedactedCallFields,
    fields: &'static [CallField],
    format: PhantomData<E>,
}

/// Selects the encoded name of a field for a format.
pub(crate) trait EncodeCall: Encode {
    fn encoded_name(field: &CallField) -> &EncodedName;
}

impl EncodeCall for Json {
    #[inline(always)]
    fn encoded_name(field: &CallField) -> &EncodedName {
        &field.json
    }
}

impl EncodeCall for Logfmt {
    #[inline(always)]
    fn encoded_name(field: &CallField) -> &EncodedName {
        &field.logfmt
    }
}

impl<'a, E: EncodeCall> CallVisitor<'a, E> {
    pub(crate) const fn new(
        line: &'a mut Line,
        writer: &'a ValueWriter,
        redacted: &'a RedactedCallFields,
        fields: &'static [CallField],
    ) -> Self {
        Self {
            line,
            writer,
            redacted,
            fields,
            format: PhantomData,
        }
    }

    #[inline]
    fn add(
        &mut self,
        field: &Field,
        value: impl FnOnce(&CallField, &ValueWriter, &mut Vec<u8>, &mut ValueBuffers),
    ) {
        let index = field.index();
        let Some(field) = self.fields.get(index) else {
            return;
        };
        let writer = self.writer;
        let is_redacted = match self.redacted.get(index) {
            Some(is_redacted) => *is_redacted,
            None => writer.redaction.redacts_field(field.name),
        };
        let name = E::encoded_name(field);
        if is_redacted {
            self.line.known_field(name, |out, _| E::text(out, REDACTED));
        } else {
            self.line
                .known_field(name, |out, buffers| value(field, writer, out, buffers));
        }
    }
}

impl<E: EncodeCall> Visit for CallVisitor<'_, E> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, |_, _, out, _| push_f64::<E>(out, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, |_, _, out, _| push_i64(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, |_, _, out, _| push_u64(out, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, |_, _, out, _| push_literal(out, value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, |field, writer, out, buffers| {
            if field.is_trusted {
                out.extend_from_slice(E::QUOTE.as_bytes());
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(E::QUOTE.as_bytes());
            } else {
                writer.text::<E>(out, buffers, value);
            }
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, |_, writer, out, buffers| {
            writer.formatted::<E>(out, buffers, format_args!("{value:?}"));
        });
    }
}
