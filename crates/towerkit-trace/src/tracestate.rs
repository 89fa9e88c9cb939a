use std::{fmt, sync::Arc};

/// The entries that tracing systems on the way add to a trace: the field `tracestate` ([W3C trace context, level 2, section 3.3][w3c]).
///
/// The list is passed on as it came, members with equal keys included. A list that breaks a rule is dropped whole, and the `traceparent`
/// is kept. A list that is too long loses whole members: those over 128 bytes first, then others, and of both the last first.
///
/// [w3c]: https://www.w3.org/TR/trace-context-2/#tracestate-header
#[derive(Clone, PartialEq, Eq)]
pub struct TraceState(Arc<str>);

impl TraceState {
    /// The most members of a list; a list of more is dropped.
    pub const MAX_MEMBERS: usize = 32;
    /// The longest list that is passed on, in bytes, commas included; the specification asks for at least as much.
    pub const MAX_LENGTH: usize = 512;
    /// The longest member that is not removed before others, in bytes.
    const LONG_MEMBER: usize = 128;

    /// Reads the values of the field, of which a request may have several; `None` if there is no member or a rule is broken.
    #[must_use]
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut list = TraceStateList::default();
        for value in values {
            list.push(value);
        }
        list.finish()
    }

    /// Returns the list, as it is passed on.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first value under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut members = self
            .0
            .split(',')
            .filter_map(|member| member.split_once('='));
        let found = members.find(|(name, _)| *name == key);
        found.map(|(_, value)| value)
    }
}

/// A list as it is read, value by value.
#[derive(Default)]
pub(crate) struct TraceStateList {
    list: String,
    members: usize,
    is_broken: bool,
}

impl TraceStateList {
    pub(crate) fn push(&mut self, value: &[u8]) {
        // Empty members are allowed, and nothing to pass on.
        let members = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for member in members.filter(|member| !member.is_empty()) {
            if self.is_broken || self.add(member).is_none() {
                self.is_broken = true;
                return;
            }
        }
    }

    pub(crate) fn finish(self) -> Option<TraceState> {
        if self.is_broken || self.list.is_empty() {
            return None;
        }
        if self.list.len() <= TraceState::MAX_LENGTH {
            return Some(TraceState(self.list.into()));
        }
        let list = shortened(&self.list);
        (!list.is_empty()).then(|| TraceState(list.into()))
    }

    /// Adds one member, unless it breaks a rule or is one too many.
    fn add(&mut self, member: &[u8]) -> Option<()> {
        let member = checked(member)?;
        if self.members == TraceState::MAX_MEMBERS {
            return None;
        }
        if self.members > 0 {
            self.list.push(',');
        }
        self.list.push_str(member);
        self.members += 1;
        Some(())
    }
}

/// Removes whole members until the list is short enough, long ones first.
fn shortened(list: &str) -> String {
    let mut members: Vec<&str> = list.split(',').collect();
    let mut length = list.len();
    while length > TraceState::MAX_LENGTH {
        let long = |member: &&str| member.len() > TraceState::LONG_MEMBER;
        let last = members.iter().rposition(long).unwrap_or(members.len() - 1);
        // With its comma.
        length = length.saturating_sub(members.remove(last).len() + 1);
    }
    members.join(",")
}

/// Checks one member; returns it as text.
fn checked(member: &[u8]) -> Option<&str> {
    let member = str::from_utf8(member).ok()?;
    let (key, value) = member.split_once('=')?;
    (is_key(key) && is_value(value)).then_some(member)
}

/// `key` of section 3.3.1.3.1: up to 256 characters, of which the first is a letter or a digit.
fn is_key(key: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_allowed =
        |byte: u8| is_alphanumeric(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@');
    let key = key.as_bytes();
    key.len() <= 256
        && key.first().is_some_and(|byte| is_alphanumeric(*byte))
        && key.iter().all(|byte| is_allowed(*byte))
}

/// Up to 256 printable characters but comma and equals sign. The last is no space: those around a member are taken off.
fn is_value(value: &str) -> bool {
    let is_allowed = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=256).contains(&value.len()) && value.bytes().all(is_allowed)
}

impl fmt::Debug for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
