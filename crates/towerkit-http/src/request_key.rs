use std::fmt;

use http::{HeaderName, Method, Request, Uri, header};
use http_body::Body;

/// What a request asks for, as bytes: two requests with equal keys have the same answer, as far as HTTP can tell.
///
/// It is made of the method, the scheme, the authority, the path, the query, and the header fields that answers commonly vary by:
/// those of content negotiation, `Origin`, and those by which proxies tell where a request came from (`Forwarded`,
/// `X-Forwarded-Host` and their like), so that nobody puts an answer to a forged one into the hands of others.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestKey(Box<[u8]>);

impl RequestKey {
    /// Returns the key of a `GET` or `HEAD` whose answer may be given to others.
    ///
    /// `None` for any other method, for a request with credentials (`Authorization`, `Proxy-Authorization`, `Cookie`,
    /// `X-Api-Key`, `Api-Key`, `X-Auth-Token`), a condition, a range, an upgrade or a body. Credentials in other places (fields
    /// of your own, client certificates) are not recognised: find keys by a function of your own there.
    #[must_use]
    pub fn of<B: Body>(request: &Request<B>) -> Option<Self> {
        Self::make(request, false)
    }

    /// Returns the key as [`of`](Self::of) does, also of a request with credentials: for answers that are the same whoever asks,
    /// or as a part of a key that says who it is.
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
        // Room for most keys, given back at the end: what grows step by step is copied at every step.
        let mut key = Vec::with_capacity(256);
        key.push(method);
        target(&mut key, request.uri());
        for (name, value) in request.headers() {
            match Matter::of(name) {
                Matter::None => {}
                Matter::Credentials if for_anyone => {}
                Matter::Credentials | Matter::Only => return None,
                Matter::Host if request.uri().authority().is_some() => {}
                Matter::Host | Matter::Varies => {
                    part(&mut key, name.as_str().as_bytes());
                    part(&mut key, value.as_bytes());
                }
            }
        }
        Some(Self(key.into()))
    }
}

fn target(key: &mut Vec<u8>, uri: &Uri) {
    part(key, uri.scheme_str().unwrap_or_default().as_bytes());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    part(key, authority.as_bytes());
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    part(key, path.as_bytes());
}

/// Appends a part and its end, a byte that neither a URI nor a header field can have.
fn part(key: &mut Vec<u8>, part: &[u8]) {
    key.extend_from_slice(part);
    key.push(0);
}

/// What a request field has to do with the answer.
enum Matter {
    /// Nothing that is known here.
    None,
    /// It tells who asks.
    Credentials,
    /// It asks for something that is for this caller only.
    Only,
    /// The authority, where the target has none.
    Host,
    /// Answers vary by it.
    Varies,
}

impl Matter {
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
            | "upgrade" => Self::Only,
            "host" => Self::Host,
            name if varies(name) => Self::Varies,
            _ => Self::None,
        }
    }
}

/// Whether a field of that name, in lower case, is a part of every key.
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

/// Whether an answer that varies by this field varies by nothing that is not in the key (RFC 9110, section 12.5.5).
pub(crate) fn covers(field: &str) -> bool {
    let name = field.trim().to_ascii_lowercase();
    name.is_empty() || name == header::HOST.as_str() || varies(&name)
}

impl fmt::Debug for RequestKey {
    /// Shows no part of the key: a query may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestKey").finish_non_exhaustive()
    }
}
