use std::fmt;

use http::{HeaderName, Method, Request, Uri, header};
use http_body::Body;

/// Identifies the response that a request asks for: requests with equal keys may share one response.
///
/// The key consists of the method, the scheme, the authority, the path, the query, and the headers by which responses commonly
/// [vary](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.5): those of content negotiation, `Origin`, and those of proxies
/// (`Forwarded`, `X-Forwarded-Host` and similar), so that a forged proxy header cannot poison the responses of other callers.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestKey(Box<[u8]>);

impl RequestKey {
    /// Returns the key of a `GET` or `HEAD` request without credentials.
    ///
    /// Returns `None` for any other method, and for a request with credentials (`Authorization`, `Proxy-Authorization`, `Cookie`,
    /// `X-Api-Key`, `Api-Key`, `X-Auth-Token`), conditional headers, a range, an upgrade or a body. Credentials in other places, such
    /// as headers of your own or client certificates, are not recognised: use a key function of your own there.
    #[must_use]
    pub fn of<B: Body>(request: &Request<B>) -> Option<Self> {
        Self::make(request, false)
    }

    /// Returns the key as [`of`](Self::of) does, and ignores credentials.
    ///
    /// Use it for responses that are the same for all callers, or as a part of a key that identifies the caller.
    #[must_use]
    pub fn for_anyone<B: Body>(request: &Request<B>) -> Option<Self> {
        Self::make(request, true)
    }

    fn make<B: Body>(request: &Request<B>, for_anyone: bool) -> Option<Self> {
        let method = match *request.method() {
            Method::GET => b'G',
            Method::HEAD => b'H',
            _ => return None,
        };
        if request.body().size_hint().upper() != Some(0) && !request.body().is_end_stream() {
            return None;
        }
        // Large enough for most keys, so that the vector does not grow step by step; shrunk at the end.
        let mut key = Vec::with_capacity(256);
        key.push(method);
        target(&mut key, request.uri());
        for (name, value) in request.headers() {
            match HeaderRole::of(name) {
                HeaderRole::Ignored => {}
                HeaderRole::Credentials if for_anyone => {}
                HeaderRole::Credentials | HeaderRole::Personal => return None,
                HeaderRole::Host if request.uri().authority().is_some() => {}
                HeaderRole::Host | HeaderRole::Varies => {
                    push_part(&mut key, name.as_str().as_bytes());
                    push_part(&mut key, value.as_bytes());
                }
            }
        }
        Some(Self(key.into()))
    }
}

fn target(key: &mut Vec<u8>, uri: &Uri) {
    push_part(key, uri.scheme_str().unwrap_or_default().as_bytes());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    push_part(key, authority.as_bytes());
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    push_part(key, path.as_bytes());
}

/// Appends a part and a separator, a byte that neither a URI nor a header can contain.
fn push_part(key: &mut Vec<u8>, part: &[u8]) {
    key.extend_from_slice(part);
    key.push(0);
}

/// The effect of a request header on the key.
enum HeaderRole {
    /// The header does not affect the response.
    Ignored,
    /// The header has credentials.
    Credentials,
    /// The header asks for a response for this caller only.
    Personal,
    /// The header has the authority if the target has none.
    Host,
    /// Responses vary by the header.
    Varies,
}

impl HeaderRole {
    fn of(name: &HeaderName) -> Self {
        match name.as_str() {
            "authorization"
            | "proxy-authorization"
            | "cookie"
            | "x-api-key"
            | "api-key"
            | "x-auth-token" => Self::Credentials,
            "range"
            | "if-range"
            | "if-match"
            | "if-none-match"
            | "if-modified-since"
            | "if-unmodified-since"
            | "upgrade" => Self::Personal,
            "host" => Self::Host,
            name if varies(name) => Self::Varies,
            _ => Self::Ignored,
        }
    }
}

/// Returns true if the header with this name, in lower case, is a part of the key.
fn varies(name: &str) -> bool {
    matches!(
        name,
        "accept"
            | "accept-charset"
            | "accept-encoding"
            | "accept-language"
            | "access-control-request-headers"
            | "access-control-request-method"
            | "forwarded"
            | "origin"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-prefix"
            | "x-forwarded-proto"
            | "x-forwarded-scheme"
            | "x-forwarded-server"
            | "x-host"
            | "x-http-method-override"
            | "x-original-url"
            | "x-rewrite-url"
    )
}

/// Returns true if a header listed in `Vary` is a part of the key (RFC 9110, section 12.5.5).
pub(crate) fn is_in_key(field: &str) -> bool {
    let name = field.trim().to_ascii_lowercase();
    name.is_empty() || name == header::HOST.as_str() || varies(&name)
}

impl fmt::Debug for RequestKey {
    /// Hides the key, because a query may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestKey").finish_non_exhaustive()
    }
}
