use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};

use super::error::{Failure, RegistryClientError};

/// The unreserved characters of [RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-2.3) stay as they are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A request of a [`RegistryClient`](crate::RegistryClient).
///
/// ```
/// use http::Method;
/// use towerkit_discovery::RegistryRequest;
///
/// let request = RegistryRequest::new(Method::GET, ["v1", "health", "service", "a/b"]).query("passing", "true");
/// assert_eq!(request.path_and_query(), "/v1/health/service/a%2Fb?passing=true");
/// ```
#[derive(Clone)]
pub struct RegistryRequest {
    pub(super) method: Method,
    path_and_query: String,
    pub(super) body: Option<Bytes>,
    pub(super) wait: Duration,
    pub(super) expected: Option<StatusCode>,
}

impl RegistryRequest {
    /// Makes a request for a path of these segments, which may have any characters.
    #[must_use]
    pub fn new<'a>(method: Method, path: impl IntoIterator<Item = &'a str>) -> Self {
        let mut path_and_query = String::new();
        for segment in path {
            path_and_query.push('/');
            match segment {
                // Proxies and servers would go up by it.
                "." => path_and_query.push_str("%2E"),
                ".." => path_and_query.push_str("%2E%2E"),
                _ => path_and_query.extend(utf8_percent_encode(segment, ENCODED)),
            }
        }
        Self {
            method,
            path_and_query,
            body: None,
            wait: Duration::ZERO,
            expected: None,
        }
    }

    /// Adds a parameter to the query, which may have any characters.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let is_first = !self.path_and_query.contains('?');
        self.path_and_query.push(if is_first { '?' } else { '&' });
        for (text, separator) in [(name, "="), (value, "")] {
            let encoded = utf8_percent_encode(text, ENCODED);
            self.path_and_query.extend(encoded);
            self.path_and_query.push_str(separator);
        }
        self
    }

    /// Sets the body, in JSON.
    ///
    /// # Errors
    ///
    /// Returns an error if the value cannot be written as JSON.
    pub fn json(mut self, body: &impl Serialize) -> serde_json::Result<Self> {
        self.body = Some(serde_json::to_vec(body)?.into());
        Ok(self)
    }

    /// Sets how long the server may wait with its response, beyond the timeout of the client. Default: zero.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Returns a response with this status, of 500 or above, and not an error.
    #[must_use]
    pub const fn expect(mut self, status: StatusCode) -> Self {
        self.expected = Some(status);
        self
    }

    /// Returns the path and the query as they are sent.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }
}

impl fmt::Debug for RegistryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryRequest")
            .field("method", &self.method)
            .field("path_and_query", &self.path_and_query)
            .finish_non_exhaustive()
    }
}

/// A response of a registry, read to its end.
#[derive(Clone)]
pub struct RegistryResponse {
    pub(super) origin: Arc<str>,
    pub(super) secrets: Arc<[String]>,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// How much of a response is part of an error, in characters.
const SHOWN: usize = 200;

impl RegistryResponse {
    /// Returns the status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Returns the response if its status is a success.
    ///
    /// # Errors
    ///
    /// Returns an error with the status and the beginning of the body, in which secrets are replaced.
    pub fn success(self) -> Result<Self, RegistryClientError> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(self.error())
    }

    /// Makes an error of the response.
    #[must_use]
    pub fn error(&self) -> RegistryClientError {
        let mut text = self.text().into_owned();
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "…");
        }
        let line = text.trim().lines().next().unwrap_or_default();
        let shown = line.chars().filter(|c| !c.is_control()).take(SHOWN);
        let shown: String = shown.collect();
        RegistryClientError::new(&self.origin, Failure::Status(self.status, shown.into()))
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// Returns an error if it is no JSON, has more than 128 levels, or is no `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, RegistryClientError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // The text of a data error has values of the response.
            let cause = match error.classify() {
                serde_json::error::Category::Data => "JSON of another shape",
                _ => "no JSON",
            };
            let cause = format!("{cause} at line {} column {}", error.line(), error.column());
            RegistryClientError::new(&self.origin, Failure::Json(cause.into()))
        })
    }
}

impl fmt::Debug for RegistryResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryResponse")
            .field("status", &self.status)
            .field("length", &self.body.len())
            .finish_non_exhaustive()
    }
}
