use std::{cell::Cell, io::Write, ops::Range};

use crate::{
    LengthLimits,
    encode::Encode,
    record::Take,
    sites::Spelt,
    value::{Scratch, literal},
};

/// A line that is being written.
#[derive(Debug, Default)]
pub(crate) struct Line {
    bytes: Vec<u8>,
    /// Where the names of the fields stand in `bytes`.
    names: Vec<Range<usize>>,
    scratch: Scratch,
    caps: LengthLimits,
    /// The fields for which there was no room.
    left_out: u32,
}

impl Line {
    /// A line that took more than this is freed, not kept for the next.
    const MOST: usize = 128 * 1024;

    const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            names: Vec::new(),
            scratch: Scratch::new(),
            caps: LengthLimits::new(),
            left_out: 0,
        }
    }

    /// Writes with the line that this thread keeps, so that in the long run nothing is allocated.
    ///
    /// An event that is logged while another is being written gets a line of its own, and so does one at the end of a thread.
    pub(crate) fn with(write: impl FnOnce(&mut Self)) {
        thread_local! {
            static SPARE: Cell<Line> = const { Cell::new(Line::new()) };
        }
        let mut line = SPARE.try_with(Cell::take).unwrap_or_default();
        write(&mut line);
        if line.bytes.capacity().max(line.scratch.capacity()) <= Self::MOST {
            // At the end of a thread there is no next line to keep it for.
            let _ = SPARE.try_with(|spare| spare.set(line));
        }
    }

    /// Begins anew.
    pub(crate) fn start<E: Encode>(&mut self, caps: LengthLimits) {
        self.bytes.clear();
        self.names.clear();
        self.caps = caps;
        self.left_out = 0;
        self.push(E::START);
    }

    /// Appends a field that needs no escape.
    pub(crate) fn plain<E: Encode>(&mut self, name: &'static str, value: &[u8]) {
        self.name::<E>(name);
        self.push(E::QUOTE);
        self.bytes.extend_from_slice(value);
        self.push(E::QUOTE);
    }

    /// Appends a field.
    pub(crate) fn text<E: Encode>(&mut self, name: &'static str, value: &str) {
        self.name::<E>(name);
        E::text(&mut self.bytes, value);
    }

    /// Appends a field whose value is already spelt.
    pub(crate) fn spelt<E: Encode>(&mut self, name: &'static str, value: &[u8]) {
        self.field::<E>(name, |out, _| out.extend_from_slice(value));
    }

    /// Appends a field whose value `value` appends, unless there is no room for it.
    #[inline]
    pub(crate) fn field<E: Encode>(
        &mut self,
        name: &str,
        value: impl FnOnce(&mut Vec<u8>, &mut Scratch),
    ) {
        if self.names.len() >= self.caps.fields {
            self.left_out += 1;
            return;
        }
        let (length, names) = (self.bytes.len(), self.names.len());
        self.name::<E>(name);
        value(&mut self.bytes, &mut self.scratch);
        if !self.caps.has_room(self.bytes.len()) {
            self.bytes.truncate(length);
            self.names.truncate(names);
            self.left_out += 1;
        }
    }

    /// Appends a field whose name is spelt and no other's, unless there is no room for it.
    #[inline]
    pub(crate) fn known(&mut self, name: &Spelt, value: impl FnOnce(&mut Vec<u8>, &mut Scratch)) {
        if self.names.len() >= self.caps.fields {
            self.left_out += 1;
            return;
        }
        let length = self.bytes.len();
        self.bytes.extend_from_slice(&name.text);
        value(&mut self.bytes, &mut self.scratch);
        if self.caps.has_room(self.bytes.len()) {
            let [start, end] = name.name.map(|at| length + at);
            self.names.push(start..end);
        } else {
            self.bytes.truncate(length);
            self.left_out += 1;
        }
    }

    /// Ends the line.
    pub(crate) fn end<E: Encode>(&mut self) -> &[u8] {
        if self.left_out > 0 {
            self.name::<E>("fields_left_out");
            literal(&mut self.bytes, self.left_out);
        }
        self.push(E::END);
        &self.bytes
    }

    /// Inlined, so that a constant is stored and not copied.
    #[inline(always)]
    fn push(&mut self, text: &'static str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Appends the name of a field; a second one of that name becomes `name_2`, so that neither hides the other.
    fn name<E: Encode>(&mut self, name: &str) {
        if !self.names.is_empty() {
            self.push(E::COMMA);
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
        self.push(E::COLON);
    }

    /// Whether an earlier field has the name that begins at `start`.
    fn is_taken(&self, start: usize) -> bool {
        let name = &self.bytes[start..];
        self.names
            .iter()
            .any(|earlier| self.bytes[earlier.clone()] == *name)
    }
}

/// What a line begins with.
pub(crate) const HEAD: [&str; 3] = ["ts", "level", "target"];

/// The name of a message, in an event and in a line.
pub(crate) const MESSAGE: &str = "message";
pub(crate) const MSG: &str = "msg";

/// The fields of an event whose message comes first, if it has one.
pub(crate) struct All<'a>(pub(crate) &'a mut Line);

/// The fields of an event, without its message.
pub(crate) struct Fields<'a>(pub(crate) &'a mut Line);

/// The message of an event, and nothing else.
pub(crate) struct Message<'a>(pub(crate) &'a mut Line);

impl Take for All<'_> {
    fn take<E: Encode>(
        &mut self,
        name: &'static str,
        value: impl FnOnce(&mut Vec<u8>, &mut Scratch),
    ) {
        let name = if name == MESSAGE { MSG } else { name };
        self.0.field::<E>(name, value);
    }
}

impl Take for Fields<'_> {
    fn take<E: Encode>(
        &mut self,
        name: &'static str,
        value: impl FnOnce(&mut Vec<u8>, &mut Scratch),
    ) {
        if name != MESSAGE {
            self.0.field::<E>(name, value);
        }
    }
}

impl Take for Message<'_> {
    fn take<E: Encode>(
        &mut self,
        name: &'static str,
        value: impl FnOnce(&mut Vec<u8>, &mut Scratch),
    ) {
        if name == MESSAGE {
            self.0.field::<E>(MSG, value);
        }
    }
}
