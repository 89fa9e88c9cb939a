//! Fields of requests that are shown on spans.

use std::sync::Arc;

use opentelemetry::{Array, Key, StringValue, Value};
use towerkit_core::{Call, ConfigError, ProtocolKind};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::redaction::{LONGEST, REDACTED, cut, has_secret};

/// The fields that spans show, if any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorded(Option<Arc<[Shown]>>);

#[derive(Debug)]
struct Shown {
    name: String,
    http: Key,
    grpc: Key,
}

const HEADERS: &str = "record_headers";

/// Most values of a field that are shown.
const MOST: usize = 8;

impl Recorded {
    pub(crate) fn new(names: &[&str]) -> Result<Self, ConfigError> {
        let shown: Result<Vec<_>, _> = names.iter().map(|name| Shown::new(name)).collect();
        let shown = Some(shown?).filter(|shown| !shown.is_empty());
        Ok(Self(shown.map(Arc::from)))
    }

    /// Shows the fields of a request on the span of its call, which has no ids yet.
    #[inline]
    pub(crate) fn show<Req>(&self, call: &Call<'_, Req>, span: &Span) {
        if let Some(fields) = &self.0 {
            for field in fields.iter() {
                field.show(call, span);
            }
        }
    }
}

impl Shown {
    fn new(name: &str) -> Result<Self, ConfigError> {
        let name = name.to_ascii_lowercase();
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(ConfigError::new(HEADERS, name, "a header name"));
        }
        if is_credential(&name) {
            return Err(ConfigError::new(
                HEADERS,
                name,
                "a header that carries no credentials",
            ));
        }
        Ok(Self {
            http: format!("http.request.header.{name}").into(),
            grpc: format!("rpc.request.header.{name}").into(),
            name,
        })
    }

    fn show<Req>(&self, call: &Call<'_, Req>, span: &Span) {
        let mut values = Vec::new();
        call.header_values(&self.name, &mut |value| {
            if values.len() < MOST {
                values.push(StringValue::from(shown(value)));
            }
        });
        if values.is_empty() {
            return;
        }
        let key = match call.protocol_kind() {
            ProtocolKind::Grpc => &self.grpc,
            _ => &self.http,
        };
        span.set_attribute(key.clone(), Value::Array(Array::String(values)));
    }
}

/// Names that say that a value is a secret, or has one, as URLs do.
const SECRETS: [&str; 15] = [
    "api-key",
    "apikey",
    "auth",
    "cookie",
    "credential",
    "csrf",
    "key",
    "location",
    "passw",
    "referer",
    "secret",
    "session",
    "signature",
    "token",
    "xsrf",
];

fn is_credential(name: &str) -> bool {
    SECRETS.iter().any(|secret| name.contains(secret))
}

/// A value as it is shown: cut, and without a secret that nobody expects there.
fn shown(value: &[u8]) -> String {
    if has_secret(value) {
        return REDACTED.to_owned();
    }
    cut(&String::from_utf8_lossy(value), LONGEST).to_owned()
}
