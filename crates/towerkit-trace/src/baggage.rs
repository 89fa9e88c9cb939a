use std::{fmt, sync::Arc};

/// The baggage of a caller: the header `baggage` ([W3C Baggage](https://www.w3.org/TR/baggage/)), propagated unchanged.
///
/// Any caller can set it, and every upstream receives it: put no secrets into it, and do not trust it. A layer propagates it only with
/// [`TraceLayer::baggage`](crate::TraceLayer::baggage).
#[derive(Clone, PartialEq, Eq)]
pub struct Baggage(Arc<str>);

impl Baggage {
    /// Most members, of all values together; those over it are dropped.
    pub const MAX_MEMBERS: usize = 64;
    /// Longest list, in bytes; from the first member on that does not fit, members are dropped.
    pub const MAX_LENGTH: usize = 8192;

    /// Returns the list, as it is passed on.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the value under a key, percent-encoded as it came, without its properties.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut members = self
            .0
            .split(',')
            .filter_map(|member| member.split_once('='));
        let (_, value) = members.find(|(name, _)| name.trim_ascii() == key)?;
        value.split(';').next().map(str::trim_ascii)
    }
}

/// A list as it is read, value by value.
#[derive(Default)]
pub(crate) struct BaggageList {
    list: String,
    members: usize,
}

impl BaggageList {
    /// Adds the members that keep the rules and fit.
    pub(crate) fn push(&mut self, value: &[u8]) {
        for member in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if self.members == Baggage::MAX_MEMBERS {
                return;
            }
            let Some(member) = checked(member) else {
                continue;
            };
            let comma = usize::from(self.members > 0);
            if self.list.len() + comma + member.len() > Baggage::MAX_LENGTH {
                return;
            }
            if self.members > 0 {
                self.list.push(',');
            }
            self.list.push_str(member);
            self.members += 1;
        }
    }

    pub(crate) fn finish(self) -> Option<Baggage> {
        (self.members > 0).then(|| Baggage(self.list.into()))
    }
}

/// A token, an equals sign, and printable characters without the separators of members.
fn checked(member: &[u8]) -> Option<&str> {
    let member = str::from_utf8(member).ok()?;
    let (key, value) = member.split_once('=')?;
    let is_value = value
        .bytes()
        .all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    (is_token(key.trim_ascii()) && is_value).then_some(member)
}

/// A token of RFC 9110, section 5.6.2.
fn is_token(key: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !key.is_empty() && key.bytes().all(is_allowed)
}

impl fmt::Debug for Baggage {
    /// Its values may be anybody's secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Baggage")
            .field("bytes", &self.0.len())
            .finish_non_exhaustive()
    }
}
