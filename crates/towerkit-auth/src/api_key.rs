use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;
use towerkit_core::{Admission, CallView, ConfigError, Principal};

use crate::{ApiKeys, AuthError, AuthFuture, Authenticator, Challenge};

/// Authenticates calls by API keys, in a header or in the query.
///
/// A header is better than the query, which logs and browsers keep. The challenge has the scheme `ApiKey`, which is not registered
/// with IANA: RFC 9110 requires a challenge, and no registered scheme says this.
pub struct ApiKeyAuth {
    challenge: Challenge,
    place: Place,
    keys: ApiKeys,
}

#[derive(Debug)]
enum Place {
    Header(&'static str),
    Query(Box<str>),
}

/// The limit of a key, in bytes.
const MAX_LENGTH: usize = 1024;

impl ApiKeyAuth {
    /// Reads keys from the header `name`, in lower case such as `x-api-key`, or from the gRPC metadata entry of that name.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the realm has characters other than printable ASCII, or if the name is not one of a header.
    pub fn header(realm: &str, name: &'static str, keys: ApiKeys) -> Result<Self, ConfigError> {
        let is_valid =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_valid) {
            return Err(ConfigError::new(
                "header",
                name,
                "the name of a header in lower case",
            ));
        }
        Ok(Self {
            challenge: Challenge::new("ApiKey", realm)?,
            place: Place::Header(name),
            keys,
        })
    }

    /// Reads keys from the parameter `name` of the query. A protocol without URIs has none.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the realm has characters other than printable ASCII, or if the name is empty.
    pub fn query(realm: &str, name: &str, keys: ApiKeys) -> Result<Self, ConfigError> {
        if name.is_empty() {
            return Err(ConfigError::new("query parameter", name, "a name"));
        }
        Ok(Self {
            challenge: Challenge::new("ApiKey", realm)?,
            place: Place::Query(name.into()),
            keys,
        })
    }

    fn find(&self, call: CallView<'_>) -> Result<Principal, AuthError> {
        let mut key = Key::Missing;
        match &self.place {
            Place::Header(name) => {
                call.header_values(name, &mut |value| key.add(|| Cow::Borrowed(value)));
            }
            Place::Query(name) => {
                let query = call.target().and_then(|target| target.query);
                for pair in query.unwrap_or_default().split('&') {
                    let (own, value) = pair.split_once('=').unwrap_or((pair, ""));
                    if percent_decode_str(own).eq(name.bytes()) {
                        key.add(|| percent_decode_str(value).into());
                    }
                }
            }
        }
        let key = match key {
            Key::Missing => return Err(AuthError::missing()),
            Key::Several => return Err(AuthError::invalid("several API keys")),
            Key::One(key) if key.len() > MAX_LENGTH => {
                return Err(AuthError::invalid("an API key above 1 KiB"));
            }
            Key::One(key) => key,
        };
        let client = self.keys.find(&key);
        client.ok_or_else(|| AuthError::invalid("unknown API key"))
    }
}

enum Key<'a> {
    Missing,
    One(Cow<'a, [u8]>),
    Several,
}

impl<'a> Key<'a> {
    fn add(&mut self, key: impl FnOnce() -> Cow<'a, [u8]>) {
        *self = match self {
            Self::Missing => Self::One(key()),
            _ => Self::Several,
        };
    }
}

impl Authenticator for ApiKeyAuth {
    fn authenticate(
        &self,
        call: CallView<'_>,
    ) -> Result<Admission<Principal, AuthFuture<Principal>>, AuthError> {
        self.find(call).map(Admission::Now)
    }

    fn challenge(&self) -> Option<&Challenge> {
        Some(&self.challenge)
    }
}

impl fmt::Debug for ApiKeyAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyAuth")
            .field("challenge", &self.challenge)
            .field("place", &self.place)
            .field("keys", &self.keys)
            .finish()
    }
}
