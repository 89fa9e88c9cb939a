use std::{
    fmt,
    future::{Future, poll_fn},
    io::Error,
    pin::pin,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, Uri,
    header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST},
    uri::{Authority, Scheme},
};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use towerkit_core::ConfigError;

use crate::sockets::SendError;

/// Writes to InfluxDB over HTTP, by [`POST /write`] of version 1 or [`POST /api/v2/write`] of version 2.
///
/// A push has arrived once InfluxDB has replied. Each request opens a connection and closes it. There is no TLS; run a proxy on the same
/// machine if you need it. [`Debug`](fmt::Debug) and [`Display`](fmt::Display) do not show the credentials.
///
/// ```
/// use towerkit_metrics_push::{Destination, InfluxHttp};
///
/// let influx = InfluxHttp::v1("http://127.0.0.1:8086", "app")?.basic("writer", "secret")?;
/// assert!(!format!("{influx:?}").contains("secret"));
/// let destination = Destination::from(influx);
/// assert_eq!(destination.to_string(), "http://127.0.0.1:8086/write");
/// # Ok::<(), towerkit_core::ConfigError>(())
/// ```
///
/// [`POST /write`]: https://docs.influxdata.com/influxdb/v1/tools/api/#write-http-endpoint
/// [`POST /api/v2/write`]: https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite
#[derive(Debug, Clone)]
pub struct InfluxHttp {
    authority: Authority,
    path: String,
    query: String,
    authorization: Option<HeaderValue>,
}

/// The largest number of characters of InfluxDB's error message that are kept.
const MAX_MESSAGE: usize = 200;

impl InfluxHttp {
    /// Writes to a database of InfluxDB 1, with its default retention policy.
    ///
    /// `url` is the address of the server, such as `http://host:8086`, with a path if the server is behind a proxy.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `url` has another scheme than `http`, or user, password or query.
    pub fn v1(url: &str, database: &str) -> Result<Self, ConfigError> {
        Self::new(url, "write", &[("db", database)])
    }

    /// Writes to a bucket of InfluxDB 2, or of another database with the endpoint `/api/v2/write`.
    ///
    /// # Errors
    ///
    /// The same as for [`v1`](Self::v1).
    pub fn v2(url: &str, organization: &str, bucket: &str) -> Result<Self, ConfigError> {
        let query = [("org", organization), ("bucket", bucket)];
        Self::new(url, "api/v2/write", &query)
    }

    fn new(url: &str, write: &str, query: &[(&str, &str)]) -> Result<Self, ConfigError> {
        // The value is not shown, because it may contain a password.
        let invalid = || {
            let expected = "an address such as http://host:8086, without user, password and query";
            ConfigError::new("url", format_args!("of influxdb"), expected)
        };
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let authority = uri.authority().ok_or_else(invalid)?.clone();
        let userinfo = authority.as_str().contains('@');
        if uri.scheme() != Some(&Scheme::HTTP) || userinfo || uri.query().is_some() {
            return Err(invalid());
        }
        let mut pairs = String::new();
        for (index, (name, value)) in query.iter().enumerate() {
            pairs.push(if index == 0 { '?' } else { '&' });
            pairs.push_str(name);
            pairs.push('=');
            encode(&mut pairs, value);
        }
        Ok(Self {
            authority,
            path: format!("{}/{write}", uri.path().trim_end_matches('/')),
            query: pairs,
            authorization: None,
        })
    }

    /// Authenticates by user name and password ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] as [`token`](Self::token) does; base64 has no invalid character, so it does not happen.
    pub fn basic(self, user: &str, password: &str) -> Result<Self, ConfigError> {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        self.authorization(&format!("Basic {pair}"))
    }

    /// Authenticates by an API token.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the token has a character that is invalid in a header.
    pub fn token(self, token: &str) -> Result<Self, ConfigError> {
        self.authorization(&format!("Token {token}"))
    }

    fn authorization(mut self, value: &str) -> Result<Self, ConfigError> {
        let value = HeaderValue::from_str(value);
        let mut value = value.map_err(|_| {
            let expected = "characters that are valid in a header";
            ConfigError::new("credentials", format_args!("of influxdb"), expected)
        })?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    pub(crate) async fn send(&self, text: &str) -> Result<(), SendError> {
        let response = self.exchange(text).await.map_err(SendError::Stop)?;
        if response.status().is_success() {
            return Ok(());
        }
        // The lines or the server may be the cause: the next packet is tried, and this one is sent again by the next push.
        Err(SendError::Skip(Error::other(error_message(&response))))
    }

    async fn exchange(&self, text: &str) -> Result<Response<Incoming>, Error> {
        let request = self.request(text).map_err(Error::other)?;
        let host = self.authority.host();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.authority.port_u16().unwrap_or(80);
        let stream = TcpStream::connect((host, port)).await?;
        let handshake = http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(Error::other)?;
        drive_while(connection, sender.send_request(request))
            .await
            .map_err(Error::other)
    }

    fn request(&self, text: &str) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{}", self.path, self.query))
            .header(HOST, self.authority.as_str())
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .header(CONNECTION, "close");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::from(text.to_owned()))
    }
}

impl fmt::Display for InfluxHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// Polls a connection until the exchange on it has ended, so that no task is needed.
async fn drive_while<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    let mut is_closed = false;
    poll_fn(|context| {
        is_closed = is_closed || connection.as_mut().poll(context).is_ready();
        exchange.as_mut().poll(context)
    })
    .await
}

/// Returns the status and, if there is one, the error message of InfluxDB.
fn error_message(response: &Response<Incoming>) -> String {
    let status = response.status();
    let message = response.headers().get("x-influxdb-error");
    match message.and_then(|message| message.to_str().ok()) {
        Some(message) => {
            let message: String = message.chars().take(MAX_MESSAGE).collect();
            format!("{status}: {message}")
        }
        None => status.to_string(),
    }
}

/// Percent-encodes a value of a query ([RFC 3986, section 2.1](https://www.rfc-editor.org/rfc/rfc3986#section-2.1)).
fn encode(out: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(
                [byte >> 4, byte & 15]
                    .map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_parsed_and_an_invalid_one_is_rejected() {
        let influx = InfluxHttp::v2("http://[::1]:9999/behind/", "a b&c=d", "e/é").unwrap();
        assert_eq!(influx.to_string(), "http://[::1]:9999/behind/api/v2/write");
        assert_eq!(influx.query, "?org=a%20b%26c%3Dd&bucket=e%2F%C3%A9");
        for url in [
            "",
            "localhost:8086",
            "/write",
            "https://localhost",
            "ftp://localhost",
            "http://ann:canary@localhost",
            "http://localhost?u=ann&p=canary",
            "http://local host",
        ] {
            let error = InfluxHttp::v1(url, "db").unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }

    /// LG-04.
    #[test]
    fn credentials_are_never_shown() {
        let basic = |http: InfluxHttp| http.basic("ann", "canary").unwrap();
        let token = |http: InfluxHttp| http.token("canary").unwrap();
        for with in [basic, token] {
            let influx = with(InfluxHttp::v1("http://localhost", "db").unwrap());
            let request = influx.request("a count=1").unwrap();
            let shown = format!("{influx:?} {influx} {request:?}");
            for secret in ["canary", "Y2FuYXJ5", "YW5u"] {
                assert!(!shown.contains(secret), "{shown}");
            }
            assert!(shown.contains("Sensitive"), "{shown}");
        }
        let influx = InfluxHttp::v1("http://localhost", "db").unwrap();
        let error = influx.token("canary\n").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
}
