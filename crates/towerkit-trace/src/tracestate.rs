use std::{fmt, sync::Arc};

/// What tracing systems on the way have to say of a trace: the field `tracestate` (W3C trace context, section 3.3).
///
/// It is passed on as it came, or not at all: a list that breaks a rule is dropped whole, and the `traceparent` is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceState(Arc<str>);

impl TraceState {
    /// Most members of a list.
    pub const MAX_MEMBERS: usize = 32;
    /// Longest list that is passed on, in bytes; the specification asks for at least as much.
    pub const MAX_LENGTH: usize = 512;

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

    /// Returns the value under a key.
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
        let is_list = !self.is_broken && self.members > 0;
        is_list.then(|| TraceState(self.list.into()))
    }

    /// Adds one member, unless it breaks a rule, repeats a key or is one too many.
    fn add(&mut self, member: &[u8]) -> Option<()> {
        let (key, member) = checked(member)?;
        let length = self.list.len() + usize::from(self.members > 0) + member.len();
        if self.members == TraceState::MAX_MEMBERS || length > TraceState::MAX_LENGTH {
            return None;
        }
        if self.keys().any(|seen| seen == key) {
            return None;
        }
        if self.members > 0 {
            self.list.push(',');
        }
        self.list.push_str(member);
        self.members += 1;
        Some(())
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        let members = self.list.split(',');
        members.map(|member| member.split_once('=').map_or(member, |(key, _)| key))
    }
}

/// Checks one member; returns its key and the member, as text.
fn checked(member: &[u8]) -> Option<(&str, &str)> {
    let member = str::from_utf8(member).ok()?;
    let (key, value) = member.split_once('=')?;
    (is_key(key) && is_value(value)).then_some((key, member))
}

/// `simple-key` or `multi-tenant-key` of section 3.3.1.3.1; level 2 lets both begin with a digit.
fn is_key(key: &str) -> bool {
    match key.split_once('@') {
        None => is_name(key, 256),
        Some((tenant, system)) => is_name(tenant, 241) && is_name(system, 14),
    }
}

fn is_name(name: &str, most: usize) -> bool {
    let begins = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let goes_on = |byte: u8| begins(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/');
    let name = name.as_bytes();
    name.len() <= most
        && name.first().is_some_and(|byte| begins(*byte))
        && name.iter().all(|byte| goes_on(*byte))
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
