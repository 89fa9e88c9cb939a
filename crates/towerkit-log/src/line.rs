use std::{cell::Cell, io::Write, ops::Range, time::SystemTime};

use crate::{
    Format, LengthLimits,
    encode::{Encode, EncodedName, HEAD, Json, Logfmt, MESSAGE, MSG},
    number::push_literal,
    timestamp::timestamp,
    value::{FieldSink, ValueBuffers, ValueWriter},
};

/// A line while it is written.
#[derive(Debug, Default)]
pub(crate) struct Line {
    bytes: Vec<u8>,
    /// The positions of the field names in `bytes`.
    names: Vec<Range<usize>>,
    buffers: ValueBuffers,
    limits: LengthLimits,
    /// The number of fields that exceeded the limits.
    left_out: u32,
}

impl Line {
    /// Lines with a larger capacity are freed, not pooled.
    const POOLED_CAPACITY: usize = 128 * 1024;

    const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            names: Vec::new(),
            buffers: ValueBuffers::new(),
            limits: LengthLimits::new(),
            left_out: 0,
        }
    }

    /// Calls `write` with the pooled line of this thread, so that lines allocate no memory after a warm-up.
    ///
    /// An event that is logged while another is being formatted gets a new line, and so does an event at the end of a thread.
    pub(crate) fn with_pooled(write: impl FnOnce(&mut Self)) {
        thread_local! {
            static POOL: Cell<Line> = const { Cell::new(Line::new()) };
        }
        let mut line = POOL.try_with(Cell::take).unwrap_or_default();
        write(&mut line);
        if line.bytes.capacity().max(line.buffers.capacity()) <= Self::POOLED_CAPACITY {
            // An error means that the thread is ending: the memory is freed.
            let _ = POOL.try_with(|pool| pool.set(line));
        }
    }

    /// Clears the line and starts it with the time, the level and the target.
    pub(crate) fn start<E: Encode>(
        &mut self,
        limits: LengthLimits,
        level: &'static str,
        target: &str,
    ) {
        self.clear::<E>(limits);
        let [ts, level_name, target_name] = HEAD;
        self.unescaped::<E>(ts, &timestamp(SystemTime::now()));
        self.unescaped::<E>(level_name, level.as_bytes());
        self.text::<E>(target_name, target);
    }

    fn clear<E: Encode>(&mut self, limits: LengthLimits) {
        self.bytes.clear();
        self.names.clear();
        self.limits = limits;
        self.left_out = 0;
        self.push(E::START);
    }

    /// Appends a text field that needs no escapes.
    fn unescaped<E: Encode>(&mut self, name: &'static str, value: &[u8]) {
        self.name::<E>(name);
        self.push(E::QUOTE);
        self.bytes.extend_from_slice(value);
        self.push(E::QUOTE);
    }

    /// Appends a text field.
    fn text<E: Encode>(&mut self, name: &'static str, value: &str) {
        self.name::<E>(name);
        E::text(&mut self.bytes, value);
    }

    /// Appends a field with an encoded value.
    pub(crate) fn encoded<E: Encode>(&mut self, name: &'static str, value: &[u8]) {
        self.field::<E>(name, |out, _| out.extend_from_slice(value));
    }

    /// Appends a field whose value `value` appends, unless it exceeds the limits.
    #[inline]
    fn field<E: Encode>(
        &mut self,
        name: &str,
        value: impl FnOnce(&mut Vec<u8>, &mut ValueBuffers),
    ) {
        if self.names.len() >= self.limits.fields {
            self.left_out += 1;
            return;
        }
        let (length, names) = (self.bytes.len(), self.names.len());
        self.name::<E>(name);
        value(&mut self.bytes, &mut self.buffers);
        if !self.limits.has_room(self.bytes.len()) {
            self.bytes.truncate(length);
            self.names.truncate(names);
            self.left_out += 1;
        }
    }

    /// Appends a field whose name is encoded in advance and unique, unless it exceeds the limits.
    #[inline]
    pub(crate) fn known_field(
        &mut self,
        name: &EncodedName,
        value: impl FnOnce(&mut Vec<u8>, &mut ValueBuffers),
    ) {
        if self.names.len() >= self.limits.fields {
            self.left_out += 1;
            return;
        }
        let length = self.bytes.len();
        self.bytes.extend_from_slice(&name.text);
        value(&mut self.bytes, &mut self.buffers);
        if self.limits.has_room(self.bytes.len()) {
            let [start, end] = name.name.map(|at| length + at);
            self.names.push(start..end);
        } else {
            self.bytes.truncate(length);
            self.left_out += 1;
        }
    }

    /// Ends the line and returns its bytes.
    pub(crate) fn finish<E: Encode>(&mut self) -> &[u8] {
        if self.left_out > 0 {
            self.name::<E>("fields_left_out");
            push_literal(&mut self.bytes, self.left_out);
        }
        self.push(E::END);
        &self.bytes
    }

    /// Inlined, so that a constant is stored instead of copied.
    #[inline(always)]
    fn push(&mut self, text: &'static str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Appends a field name; a duplicate becomes `name_2`, so that no field hides another.
    fn name<E: Encode>(&mut self, name: &str) {
        if !self.names.is_empty() {
            self.push(E::SEPARATOR);
        }
        self.push(E::QUOTE);
        let start = self.bytes.len();
        E::name(&mut self.bytes, name);
        let end = self.bytes.len();
        let mut nth = 1_u32;
        while self.is_taken(start) {
            nth += 1;
            self.bytes.truncate(end);
            // Writing to memory cannot fail.
            let _ = write!(self.bytes, "_{nth}");
        }
        self.names.push(start..self.bytes.len());
        self.push(E::QUOTE);
        self.push(E::ASSIGN);
    }

    /// Returns true if an earlier field has the name that starts at `start`.
    fn is_taken(&self, start: usize) -> bool {
        let name = &self.bytes[start..];
        self.names
            .iter()
            .any(|earlier| self.bytes[earlier.clone()] == *name)
    }
}

/// A [`FieldSink`] that appends a part of an event's fields to a line.
pub(crate) struct LineSink<'a> {
    pub(crate) line: &'a mut Line,
    pub(crate) part: EventPart,
}

/// The part of an event's fields that a [`LineSink`] accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventPart {
    All,
    Message,
    AllButMessage,
}

impl FieldSink for LineSink<'_> {
    #[inline]
    fn add<E: Encode>(
        &mut self,
        name: &'static str,
        value: impl FnOnce(&mut Vec<u8>, &mut ValueBuffers),
    ) {
        let is_message = name == MESSAGE;
        let is_accepted = match self.part {
            EventPart::All => true,
            EventPart::Message => is_message,
            EventPart::AllButMessage => !is_message,
        };
        if is_accepted {
            let name = if is_message { MSG } else { name };
            self.line.field::<E>(name, value);
        }
    }
}

/// Appends the line that reports the number of dropped lines.
pub(crate) fn push_dropped_line(format: Format, dropped: u64, out: &mut Vec<u8>) {
    match format {
        Format::Logfmt => push_dropped_line_as::<Logfmt>(dropped, out),
        Format::Json => push_dropped_line_as::<Json>(dropped, out),
    }
}

fn push_dropped_line_as<E: Encode>(dropped: u64, out: &mut Vec<u8>) {
    let mut count = Vec::new();
    push_literal(&mut count, dropped);
    Line::with_pooled(|line| {
        line.start::<E>(LengthLimits::new(), "warn", "towerkit::log");
        line.text::<E>(MSG, "lines dropped");
        line.encoded::<E>("dropped", &count);
        out.extend_from_slice(line.finish::<E>());
    });
}

/// Returns a line of one field, for fuzz targets, whose field names are not constants. Not part of the public API.
#[doc(hidden)]
#[must_use]
pub fn line_of(format: Format, name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Line::with_pooled(|line| {
        out.extend_from_slice(match format {
            Format::Logfmt => line_of_as::<Logfmt>(line, name, value),
            Format::Json => line_of_as::<Json>(line, name, value),
        });
    });
    out
}

fn line_of_as<'a, E: Encode>(line: &'a mut Line, name: &str, value: &[u8]) -> &'a [u8] {
    let writer = ValueWriter::default();
    line.clear::<E>(writer.limits);
    line.field::<E>(name, |out, buffers| {
        writer.bytes::<E>(out, buffers, value);
    });
    line.finish::<E>()
}
