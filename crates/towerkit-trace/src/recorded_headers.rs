//! Request headers that are recorded on spans.

use std::sync::Arc;

use opentelemetry::{Array, Key, StringValue, Value};
use towerkit_core::{Call, ConfigError, ProtocolKind};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::redaction::{LONGEST, REDACTED, cut, has_secret};

/// The recorded headers, if there are any.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordedHeaders(Option<Arc<[RecordedHeader]>>);

#[derive(Debug)]
struct RecordedHeader {
    name: String,
    http: Key,
    grpc: Key,
}

const HEADERS: &str = "record_headers";

/// The maximum number of recorded values of a header.
const MAX_VALUES: usize = 8;

impl RecordedHeaders {
    pub(crate) fn new(names: &[&str]) -> Result<Self, ConfigError> {
        let recorded: Result<Vec<_>, _> =
            names.iter().map(|name| RecordedHeader::new(name)).collect();
        let recorded = Some(recorded?).filter(|recorded| !recorded.is_empty());
        Ok(Self(recorded.map(Arc::from)))
    }

    /// Records the headers of a request on the span of its call, which has no ids yet.
    #[inline]
    pub(crate) fn show<Req>(&self, call: &Call<'_, Req>, span: &Span) {
        if let Some(fields) = &self.0 {
            for field in fields.iter() {
                field.show(call, span);
            }
        }
    }
}

impl RecordedHeader {
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
            if values.len() < MAX_VALUES {
                values.push(StringValue::from(recorded(value)));
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

/// Parts of header names whose values are or contain secrets, as URLs do.
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

/// Returns a value as it is recorded: truncated, or redacted if it looks like a secret.
fn recorded(value: &[u8]) -> String {
    if has_secret(value) {
        return REDACTED.to_owned();
    }
    cut(&String::from_utf8_lossy(value), LONGEST).to_owned()
}
