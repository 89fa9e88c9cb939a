//! The URL and the server of a request, as the attributes of spans show them.

use std::borrow::Cow;

use towerkit_core::TargetUri;

use crate::redaction::{LONGEST, REDACTED, cut, has_secret};

/// Returns the path: up to 256 bytes, without segments that look like secrets.
pub(crate) fn path(path: &str) -> Cow<'_, str> {
    let path = cut(path, LONGEST);
    if !has_secret(path.as_bytes()) {
        return path.into();
    }
    let segments = path
        .split('/')
        .map(|segment| match has_secret(segment.as_bytes()) {
            true => REDACTED,
            false => segment,
        });
    segments.collect::<Vec<_>>().join("/").into()
}

/// Returns the query with the names of its parameters and without their values, which may be secrets.
pub(crate) fn query(query: &str) -> String {
    let mut options = String::new();
    for parameter in query.split('&') {
        let name = match parameter.split_once('=') {
            Some((name, _)) if !has_secret(name.as_bytes()) => name,
            _ => "",
        };
        let equals = if name.is_empty() { "" } else { "=" };
        if options.len() + name.len() + equals.len() + REDACTED.len() + 1 > LONGEST {
            break;
        }
        if !options.is_empty() {
            options.push('&');
        }
        options.push_str(name);
        options.push_str(equals);
        options.push_str(REDACTED);
    }
    options
}

/// Returns the absolute URL, where the request has one, with its [path](path()) and [query](query()), and no user information.
pub(crate) fn full(target: &TargetUri<'_>, authority: Option<&str>) -> Option<String> {
    let (scheme, authority) = (target.scheme?, authority?);
    let mut url = format!("{scheme}://");
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => {
            // The form of the conventions.
            url.push_str("REDACTED:REDACTED@");
            host
        }
        None => authority,
    };
    url.push_str(cut(host, LONGEST));
    url.push_str(&path(target.path));
    if let Some(text) = target.query {
        url.push('?');
        url.push_str(&query(text));
    }
    Some(url)
}

/// Returns the scheme of the original request, if one on the way says it, or that of this one.
pub(crate) fn scheme<'a>(target: &TargetUri<'a>, forwarded: Option<&str>) -> &'a str {
    match forwarded {
        Some(forwarded) if forwarded.eq_ignore_ascii_case("https") => "https",
        Some(forwarded) if forwarded.eq_ignore_ascii_case("http") => "http",
        // A request over HTTP/1.1 has none.
        _ => target.scheme.unwrap_or("http"),
    }
}

/// The host of an authority, and its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Server<'a> {
    pub(crate) address: Option<&'a str>,
    pub(crate) port: Option<u16>,
}

impl<'a> Server<'a> {
    /// Parses an authority. An invalid host name is omitted, because a caller may have made it up.
    pub(crate) fn of(authority: &'a str) -> Self {
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let (address, port) = match host.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((address, port)) => (address, port.strip_prefix(':')),
                None => return Self::default(),
            },
            None => match host.split_once(':') {
                Some((address, port)) => (address, Some(port)),
                None => (host, None),
            },
        };
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~%:".contains(&byte);
        let is_name = (1..=255).contains(&address.len()) && address.bytes().all(is_allowed);
        if !is_name {
            return Self::default();
        }
        Self {
            address: Some(address),
            port: port.and_then(|port| port.parse().ok()),
        }
    }

    /// Adds the port that the scheme implies.
    pub(crate) fn with_scheme(mut self, scheme: Option<&str>) -> Self {
        if self.address.is_some() && self.port.is_none() {
            self.port = match scheme {
                Some("http") => Some(80),
                Some("https") => Some(443),
                _ => None,
            };
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_truncated_without_segments_that_look_like_secrets() {
        assert_eq!(path("/orders/7"), "/orders/7");
        assert_eq!(path("/a;session=7/b"), "/REDACTED/b");
        assert_eq!(
            path("/reset/eyJhbGci.eyJzdWIi.c2ln/go"),
            "/reset/REDACTED/go"
        );
        let long = format!("/{}", "é".repeat(200));
        assert_eq!(path(&long).len(), LONGEST - 1, "at the end of a character");
    }

    #[test]
    fn a_query_keeps_the_names_of_its_parameters() {
        assert_eq!(
            query("page=2&token=abc&empty="),
            "page=REDACTED&token=REDACTED&empty=REDACTED"
        );
        assert_eq!(query("abcdef"), "REDACTED");
        assert_eq!(query("eyJhbGci.eyJzdWIi.c2ln=1&=x"), "REDACTED&REDACTED");
        let long = query(&"a=1&".repeat(1000));
        assert!(
            long.len() <= LONGEST && long.ends_with("&a=REDACTED"),
            "{long}"
        );
    }

    #[test]
    fn a_full_url_has_neither_users_nor_values() {
        let target = |path, query| {
            let mut target = TargetUri::new(path);
            (target.scheme, target.query) = (Some("https"), query);
            target
        };
        let options = full(&target("/a", Some("sig=1")), Some("ann:secret@host:8443")).unwrap();
        assert_eq!(
            options,
            "https://REDACTED:REDACTED@host:8443/a?sig=REDACTED"
        );
        assert_eq!(
            full(&target("/", None), Some("host")).unwrap(),
            "https://host/"
        );
        assert_eq!(full(&target("/", None), None), None);
        assert_eq!(full(&TargetUri::new("/"), Some("host")), None);
    }

    #[test]
    fn a_server_is_the_host_and_the_port_of_an_authority() {
        let read = |authority, scheme| {
            let Server { address, port } = Server::of(authority).with_scheme(scheme);
            (address, port)
        };
        assert_eq!(read("host", None), (Some("host"), None));
        assert_eq!(read("host", Some("http")), (Some("host"), Some(80)));
        assert_eq!(read("host", Some("https")), (Some("host"), Some(443)));
        assert_eq!(
            read("ann:secret@host:81", Some("http")),
            (Some("host"), Some(81))
        );
        assert_eq!(read("[::1]:81", None), (Some("::1"), Some(81)));
        assert_eq!(read("[::1]", None), (Some("::1"), None));
        assert_eq!(read("10.0.0.1:65536", None), (Some("10.0.0.1"), None));
        for bad in ["", "[::1", "a b", "<script>", ":80", &"a".repeat(256)] {
            assert_eq!(read(bad, Some("http")), (None, None), "{bad:?}");
        }
    }

    #[test]
    fn a_scheme_is_that_of_the_original_request() {
        let target = TargetUri::new("/");
        assert_eq!(scheme(&target, None), "http");
        assert_eq!(scheme(&target, Some("HTTPS")), "https");
        assert_eq!(scheme(&target, Some("gopher")), "http");
        let mut target = target;
        target.scheme = Some("https");
        assert_eq!(scheme(&target, None), "https");
        assert_eq!(scheme(&target, Some("http")), "http");
    }
}
