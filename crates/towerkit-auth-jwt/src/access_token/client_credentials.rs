use std::{fmt, pin::Pin, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use serde_json::{Map, Value};
use tower::Service;
use towerkit_core::{BoxError, ConfigError};

use crate::{
    IssuedToken, TokenSource,
    fetch::{Fetch, parse_url},
    strict_json,
};

/// The largest response of a token endpoint, in bytes.
const MAX_RESPONSE: usize = 64 * 1024;

/// The lifetime of a token of which the server does not tell it.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);

/// Obtains tokens by the client credentials of OAuth 2 ([RFC 6749, section 4.4](https://www.rfc-editor.org/rfc/rfc6749#section-4.4)).
///
/// The client authenticates itself with its id and secret by Basic authentication (section 2.3.1). If a response has no `expires_in`,
/// its token is used for 5 minutes.
///
/// ```
/// use towerkit_auth_jwt::{AccessTokenLayer, ClientCredentials};
///
/// let source = ClientCredentials::new("https://id.example.com/token", "billing", "s3cret")?.param("scope", "orders:read");
/// let layer = AccessTokenLayer::new(source);
/// # let _ = layer;
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct ClientCredentials {
    endpoint: Uri,
    authorization: HeaderValue,
    params: Vec<(String, String)>,
    fetch: Fetch,
}

impl ClientCredentials {
    /// Obtains tokens from the token endpoint of an authorization server.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the endpoint is not a URL of `https`. The error does not show the secret.
    pub fn new(endpoint: &str, client_id: &str, secret: &str) -> Result<Self, ConfigError> {
        Self::make(
            parse_url("token endpoint", endpoint, false)?,
            client_id,
            secret,
        )
    }

    /// Obtains tokens from a token endpoint that may be without TLS, for development.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the endpoint is not a URL of `http` or `https`.
    pub fn development(endpoint: &str, client_id: &str, secret: &str) -> Result<Self, ConfigError> {
        Self::make(
            parse_url("token endpoint", endpoint, true)?,
            client_id,
            secret,
        )
    }

    /// Adds a parameter to the request, such as `scope`, `audience` or `resource`.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }

    /// Sets the HTTP client; see [`Jwks::client`](crate::Jwks::client).
    #[must_use]
    pub fn client<C, B>(mut self, client: C) -> Self
    where
        C: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.fetch = Fetch::by(client);
        self
    }

    fn make(endpoint: Uri, client_id: &str, secret: &str) -> Result<Self, ConfigError> {
        // Both are encoded as forms are, so that an id may have a colon.
        let encode = |text: &str| {
            let pair = serde_urlencoded::to_string([("", text)]);
            pair.expect("a text can be encoded").split_off(1)
        };
        let pair = format!("{}:{}", encode(client_id), encode(secret));
        let header = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
        let mut authorization = header.expect("base64 is valid in a header");
        authorization.set_sensitive(true);
        Ok(Self {
            endpoint,
            authorization,
            params: vec![("grant_type".to_owned(), "client_credentials".to_owned())],
            fetch: Fetch::new(),
        })
    }
}

impl TokenSource for ClientCredentials {
    fn issue(&self) -> Pin<Box<dyn Future<Output = Result<IssuedToken, BoxError>> + Send>> {
        let body = serde_urlencoded::to_string(&self.params).expect("texts can be encoded");
        let request = Request::post(&self.endpoint)
            .header("authorization", self.authorization.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(Full::from(body));
        let fetch = self.fetch.clone();
        Box::pin(async move {
            let (status, body) = fetch.fetch(request?, MAX_RESPONSE).await?;
            let members = strict_json::object(&body);
            if status != StatusCode::OK {
                return Err(refusal(status, members.ok().as_ref()).into());
            }
            // The error of the parser could show parts of the token.
            let members = members.map_err(|_| "the response of the token endpoint is no JSON")?;
            issued(&members).ok_or_else(|| "the response has no usable bearer token".into())
        })
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Reads a response (RFC 6749, section 5.1).
fn issued(members: &Map<String, Value>) -> Option<IssuedToken> {
    let kind = members.get("token_type")?.as_str()?;
    let token = members.get("access_token")?.as_str()?;
    let lifetime = match members.get("expires_in") {
        None => DEFAULT_LIFETIME,
        Some(seconds) => Duration::try_from_secs_f64(seconds.as_f64()?).ok()?,
    };
    let is_bearer = kind.eq_ignore_ascii_case("Bearer");
    is_bearer.then(|| IssuedToken::new(token, lifetime))?
}

/// Describes an error response by its code alone (section 5.2).
fn refusal(status: StatusCode, members: Option<&Map<String, Value>>) -> String {
    let code = members.and_then(|members| members.get("error")?.as_str());
    let is_code = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let code = code.filter(|code| code.len() <= 64 && code.bytes().all(is_code));
    match code {
        Some(code) => format!("the token endpoint answers {status}: {code}"),
        None => format!("the token endpoint answers {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(json: &str) -> Option<IssuedToken> {
        issued(&strict_json::object(json.as_bytes()).unwrap())
    }

    #[test]
    fn only_bearer_tokens_with_a_lifetime_are_used() {
        let token =
            response(r#"{"access_token":"a.b","token_type":"bearer","expires_in":60}"#).unwrap();
        assert_eq!(token.header(), "Bearer a.b");
        assert_eq!(token.lifetime(), 60_000_000_000);
        assert!(response(r#"{"access_token":"a.b","token_type":"Bearer"}"#).is_some());
        for json in [
            r#"{"access_token":"a.b","token_type":"DPoP"}"#,
            r#"{"access_token":"a.b"}"#,
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":"a\r\nb: c","token_type":"Bearer"}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":0}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":-1}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":"60"}"#,
        ] {
            assert!(response(json).is_none(), "{json}");
        }
    }

    #[test]
    fn only_the_code_of_an_error_is_shown() {
        let members = |json: &str| strict_json::object(json.as_bytes()).unwrap();
        let status = StatusCode::UNAUTHORIZED;
        let text = refusal(
            status,
            Some(&members(
                r#"{"error":"invalid_client","error_description":"c4nary"}"#,
            )),
        );
        assert_eq!(
            text,
            "the token endpoint answers 401 Unauthorized: invalid_client"
        );
        let text = refusal(status, Some(&members(r#"{"error":"C4nary"}"#)));
        assert_eq!(text, "the token endpoint answers 401 Unauthorized");
    }
}
