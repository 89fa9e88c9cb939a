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

use crate::{
    InvalidSetting,
    invalid::Problem,
    wire::{Failure, Wire},
};

/// InfluxDB over HTTP: lines are written by `POST /write`, or `/api/v2/write`, and arrive, or fail, before the push is over.
///
/// Each push opens a connection and closes it. There is no TLS: where it is needed, a proxy on the same machine can add it. Credentials
/// are in a header, and nothing shows them.
///
/// ```
/// use towerkit_metrics_push::{InfluxHttp, Target};
///
/// let influx = InfluxHttp::v1("http://127.0.0.1:8086", "app")?.basic("writer", "secret")?;
/// assert!(!format!("{influx:?}").contains("secret"));
/// let target = Target::from(influx);
/// assert_eq!(target.to_string(), "http://127.0.0.1:8086/write");
/// # Ok::<(), towerkit_metrics_push::InvalidSetting>(())
/// ```
#[derive(Debug, Clone)]
pub struct InfluxHttp {
    authority: Authority,
    path: String,
    query: String,
    authorization: Option<HeaderValue>,
}

/// How much of what InfluxDB says of a failure is kept.
const SAID: usize = 200;

impl InfluxHttp {
    /// Writes into a database of InfluxDB 1: its default retention policy.
    ///
    /// `url` is where the server is, `http://host:8086`, with a path if it has one behind a proxy.
    ///
    /// # Errors
    ///
    /// If the URL is no such one.
    pub fn v1(url: &str, database: &str) -> Result<Self, InvalidSetting> {
        Self::new(url, "write", &[("db", database)])
    }

    /// Writes into a bucket of InfluxDB 2, or another database that has its `/api/v2/write`.
    ///
    /// # Errors
    ///
    /// As for [`v1`](Self::v1).
    pub fn v2(url: &str, organization: &str, bucket: &str) -> Result<Self, InvalidSetting> {
        let query = [("org", organization), ("bucket", bucket)];
        Self::new(url, "api/v2/write", &query)
    }

    fn new(url: &str, write: &str, query: &[(&str, &str)]) -> Result<Self, InvalidSetting> {
        let invalid = || InvalidSetting(Problem::Url);
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

    /// Says who writes by name and password.
    ///
    /// # Errors
    ///
    /// If no header can say so, which does not happen.
    pub fn basic(self, user: &str, password: &str) -> Result<Self, InvalidSetting> {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        self.authorization(&format!("Basic {pair}"))
    }

    /// Says who writes by a token.
    ///
    /// # Errors
    ///
    /// If the token has a character that a header cannot have.
    pub fn token(self, token: &str) -> Result<Self, InvalidSetting> {
        self.authorization(&format!("Token {token}"))
    }

    fn authorization(mut self, value: &str) -> Result<Self, InvalidSetting> {
        let value = HeaderValue::from_str(value);
        let mut value = value.map_err(|_| InvalidSetting(Problem::Credentials))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    pub(crate) fn wire(&self) -> Wire {
        Wire::Http(self.clone())
    }

    pub(crate) async fn send(&self, text: &str) -> Result<(), Failure> {
        let response = self.exchange(text).await.map_err(Failure::Stop)?;
        if response.status().is_success() {
            return Ok(());
        }
        // Something in these lines, or the server itself for now. The next ones are tried, and these are told again.
        Err(Failure::Skip(Error::other(excerpt(&response))))
    }

    async fn exchange(&self, text: &str) -> Result<Response<Incoming>, Error> {
        let request = self.request(text).map_err(Error::other)?;
        let host = self.authority.host();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.authority.port_u16().unwrap_or(80);
        let stream = TcpStream::connect((host, port)).await?;
        let handshake = http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(Error::other)?;
        alongside(connection, sender.send_request(request))
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

/// Polls a connection for as long as what goes on over it, so that it needs no task of its own.
async fn alongside<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    let mut is_over = false;
    poll_fn(|context| {
        is_over = is_over || connection.as_mut().poll(context).is_ready();
        exchange.as_mut().poll(context)
    })
    .await
}

/// Says what went wrong, in the words of InfluxDB if it has some.
fn excerpt(response: &Response<Incoming>) -> String {
    let status = response.status();
    let words = response.headers().get("x-influxdb-error");
    match words.and_then(|words| words.to_str().ok()) {
        Some(words) => format!("{status}: {}", words.chars().take(SAID).collect::<String>()),
        None => status.to_string(),
    }
}

/// Writes a value of a query, RFC 3986, section 2.1.
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
    fn addresses_are_put_together_and_nonsense_is_rejected() {
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
    fn credentials_are_shown_nowhere() {
        let basic = |http: InfluxHttp| http.basic("ann", "canary").unwrap();
        let token = |http: InfluxHttp| http.token("canary").unwrap();
        for with in [basic, token] {
            let influx = with(InfluxHttp::v1("http://localhost", "db").unwrap());
            let request = influx.request("a count=1").unwrap();
            let target = crate::Target::from(influx.clone());
            let shown = format!("{influx:?} {influx} {target:?} {target} {request:?}");
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
