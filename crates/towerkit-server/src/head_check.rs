use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header, uri::Authority};
use towerkit_http::Problem;

/// The limits of the head of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    pub(crate) headers: usize,
    pub(crate) bytes: usize,
}

/// What a header takes besides its name and value: a colon, a space and the end of the line.
const HEADER_OVERHEAD: usize = 4;

/// The headers of a request that the server itself looks at, found in one pass over all of them.
#[derive(Debug, Default)]
pub(crate) struct SeenHeaders<'a> {
    bytes: usize,
    host: Option<&'a HeaderValue>,
    has_several_hosts: bool,
    /// The first `Content-Type`.
    pub(crate) content_type: Option<&'a HeaderValue>,
    /// Whether there is an `Expect`.
    pub(crate) has_expect: bool,
}

impl<'a> SeenHeaders<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers {
            seen.bytes += name.as_str().len() + value.len() + HEADER_OVERHEAD;
            if name == header::HOST {
                seen.has_several_hosts = seen.host.replace(value).is_some();
            } else if name == header::CONTENT_TYPE {
                seen.content_type.get_or_insert(value);
            } else if name == header::EXPECT {
                seen.has_expect = true;
            }
        }
        seen
    }

    /// Checks `Host` as RFC 9112, section 3.2, demands of servers; over HTTP/2 the authority may stand in its place.
    fn check_host(&self, version: Version) -> Result<(), &'static str> {
        match self.host {
            None if version == Version::HTTP_11 => Err("the header Host is missing"),
            None => Ok(()),
            Some(_) if self.has_several_hosts => Err("there are several headers Host"),
            Some(host) if is_host(host.as_bytes()) => Ok(()),
            Some(_) => Err("the header Host is invalid"),
        }
    }
}

impl HeadLimits {
    /// Returns the headers that the server looks at, or the response to a request with an invalid head.
    ///
    /// hyper rejects heads that do not fit into its buffer, and h2 those over the limit that it announces.
    pub(crate) fn check<'a, B>(&self, request: &'a Request<B>) -> Result<SeenHeaders<'a>, Problem> {
        let (uri, seen) = (uri_bytes(request), SeenHeaders::of(request.headers()));
        if uri + seen.bytes > self.bytes {
            return Err(Problem::new(if uri > self.bytes / 2 {
                StatusCode::URI_TOO_LONG
            } else {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }));
        }
        if request.headers().len() > self.headers {
            return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        match seen.check_host(request.version()) {
            Ok(()) => Ok(seen),
            Err(detail) => Err(Problem::new(StatusCode::BAD_REQUEST).detail(detail)),
        }
    }
}

fn uri_bytes<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    authority + uri.path_and_query().map_or(0, |path| path.as_str().len())
}

/// Returns true for a host with an optional port; for URIs without an authority it is empty.
fn is_host(host: &[u8]) -> bool {
    is_plain_host(host) || Authority::try_from(host).is_ok() && !host.contains(&b'@')
}

/// Returns true for most valid hosts, without parsing: letters, digits, `.` and `-`, and then perhaps digits as a port.
fn is_plain_host(host: &[u8]) -> bool {
    let is_name = |byte: &u8| NAME_BYTES[usize::from(*byte)];
    match host.iter().position(|byte| !is_name(byte)) {
        None => true,
        Some(end) => {
            let port = &host[end + 1..];
            host[end] == b':'
                && end > 0
                && matches!(port.len(), 1..=4)
                && port.iter().all(u8::is_ascii_digit)
        }
    }
}

/// The bytes of most names.
static NAME_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        bytes[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        byte += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        headers: 3,
        bytes: 1000,
    };

    fn status(version: Version, uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let problem = LIMITS.check(&request.body(()).unwrap()).err()?;
        Some(problem.respond::<bytes::Bytes>().status().as_u16())
    }

    #[test]
    fn http_1_1_needs_exactly_one_valid_host() {
        let status = |hosts: &[&str]| {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            status(Version::HTTP_11, "/", &headers)
        };
        for host in [
            "a",
            "a:80",
            "[::1]:80",
            "10.0.0.1",
            "",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(status(&[host]), None, "{host:?}");
        }
        for host in ["a b", "user@a", "a/b", "a?b", "a#b", "[::1"] {
            assert_eq!(status(&[host]), Some(400), "{host:?}");
        }
        assert_eq!(status(&[]), Some(400));
        assert_eq!(status(&["a", "a"]), Some(400));
    }

    #[test]
    fn other_versions_need_no_host_but_never_take_two() {
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(status(version, "/", &[]), None);
            let two = [("host", "a"), ("host", "b")];
            assert_eq!(status(version, "/", &two), Some(400));
        }
    }

    #[test]
    fn too_many_or_too_long_headers_are_431_and_a_long_uri_is_414() {
        let status = |uri: &str, headers: &[(&str, &str)]| {
            let host = [("host", "a")];
            status(Version::HTTP_11, uri, &[&host[..], headers].concat())
        };
        let (long, longer) = ("x".repeat(600), "x".repeat(1000));
        assert_eq!(status("/", &[("a", "1"), ("b", "2")]), None);
        assert_eq!(
            status("/", &[("a", "1"), ("b", "2"), ("c", "3")]),
            Some(431)
        );
        assert_eq!(status("/", &[("a", &long)]), None);
        assert_eq!(status("/", &[("a", &longer)]), Some(431));
        assert_eq!(status(&format!("/{long}"), &[]), None);
        assert_eq!(status(&format!("/{longer}"), &[]), Some(414));
        assert_eq!(status(&format!("/{long}"), &[("a", &long)]), Some(414));
    }
}
