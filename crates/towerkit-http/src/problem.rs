use std::{borrow::Cow, fmt::Write};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

/// An error response with problem details in JSON ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
///
/// ```
/// use bytes::Bytes;
/// use http::StatusCode;
/// use towerkit_http::Problem;
///
/// let response = Problem::new(StatusCode::NOT_FOUND).detail("no such profile").respond::<Bytes>();
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// assert_eq!(
///     response.body().as_ref(),
///     br#"{"type":"about:blank","title":"Not Found","status":404,"detail":"no such profile"}"#,
/// );
/// ```
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    detail: Option<Cow<'static, str>>,
    code: Option<&'static str>,
}

impl Problem {
    /// Makes a problem that only has a status.
    #[must_use]
    pub const fn new(status: StatusCode) -> Self {
        Self {
            status,
            detail: None,
            code: None,
        }
    }

    /// Adds a sentence for people. The caller sees it, so it must not contain internals.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the extension member `code`, an identifier for programs.
    #[must_use]
    pub const fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Makes the response to a request with any method but `HEAD`.
    #[must_use]
    pub fn respond<B: From<Bytes>>(self) -> Response<B> {
        self.answer(false, B::from)
    }

    /// Makes the response to a request with this method; the response to a `HEAD` has no body.
    #[must_use]
    pub fn respond_to<B: From<Bytes>>(self, method: &Method) -> Response<B> {
        self.answer(*method == Method::HEAD, B::from)
    }

    pub(crate) fn answer<B>(&self, is_head: bool, body: impl FnOnce(Bytes) -> B) -> Response<B> {
        let json = self.body();
        let length = is_head.then(|| HeaderValue::from(json.len()));
        let mut response = Response::new(body(if is_head { Bytes::new() } else { json }));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        if let Some(length) = length {
            // The length of the body that a GET would get (RFC 9110, section 8.6).
            headers.insert(header::CONTENT_LENGTH, length);
        }
        response
    }

    /// Returns the problem as JSON.
    pub(crate) fn body(&self) -> Bytes {
        let title = title(self.status);
        let mut json = format!(
            r#"{{"type":"about:blank","title":"{title}","status":{}"#,
            self.status.as_u16()
        );
        for (name, value) in [("detail", self.detail.as_deref()), ("code", self.code)] {
            if let Some(value) = value {
                let _ = write!(json, r#","{name}":""#);
                escape(value, &mut json);
                json.push('"');
            }
        }
        json.push('}');
        Bytes::from(json)
    }
}

/// Returns the reason phrase of RFC 9110, section 15, or of the RFC that defines the status.
fn title(status: StatusCode) -> &'static str {
    match status.as_u16() {
        // The crate `http` has the phrases of earlier RFCs.
        203 => "Non-Authoritative Information",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        _ => status.canonical_reason().unwrap_or("Unknown"),
    }
}

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Escapes text for a JSON string (RFC 8259, section 7).
fn escape(text: &str, json: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\0'..='\u{1f}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_those_of_rfc_9110() {
        let table = [
            (200, "OK"),
            (201, "Created"),
            (202, "Accepted"),
            (203, "Non-Authoritative Information"),
            (204, "No Content"),
            (205, "Reset Content"),
            (206, "Partial Content"),
            (300, "Multiple Choices"),
            (301, "Moved Permanently"),
            (302, "Found"),
            (303, "See Other"),
            (304, "Not Modified"),
            (305, "Use Proxy"),
            (307, "Temporary Redirect"),
            (308, "Permanent Redirect"),
            (400, "Bad Request"),
            (401, "Unauthorized"),
            (402, "Payment Required"),
            (403, "Forbidden"),
            (404, "Not Found"),
            (405, "Method Not Allowed"),
            (406, "Not Acceptable"),
            (407, "Proxy Authentication Required"),
            (408, "Request Timeout"),
            (409, "Conflict"),
            (410, "Gone"),
            (411, "Length Required"),
            (412, "Precondition Failed"),
            (413, "Content Too Large"),
            (414, "URI Too Long"),
            (415, "Unsupported Media Type"),
            (416, "Range Not Satisfiable"),
            (417, "Expectation Failed"),
            (421, "Misdirected Request"),
            (422, "Unprocessable Content"),
            (426, "Upgrade Required"),
            (500, "Internal Server Error"),
            (501, "Not Implemented"),
            (502, "Bad Gateway"),
            (503, "Service Unavailable"),
            (504, "Gateway Timeout"),
            (505, "HTTP Version Not Supported"),
        ];
        for (status, expected) in table {
            assert_eq!(title(StatusCode::from_u16(status).unwrap()), expected);
        }
    }

    #[test]
    fn the_response_to_a_head_has_no_body() {
        let problem = Problem::new(StatusCode::NOT_FOUND);
        let whole: Response<Bytes> = problem.clone().respond_to(&Method::GET);
        let head: Response<Bytes> = problem.respond_to(&Method::HEAD);
        assert_eq!(head.status(), whole.status());
        assert!(head.body().is_empty());
        let length = head.headers()[header::CONTENT_LENGTH].to_str().unwrap();
        assert_eq!(length, whole.body().len().to_string());
        assert!(!whole.headers().contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn any_detail_reads_back() {
        let detail = "a \"quote\", a \\, a\nline, \u{7f}\u{0}\u{1F600}";
        let problem = Problem::new(StatusCode::BAD_REQUEST)
            .detail(detail)
            .code("bad");
        let json: serde_json::Value = serde_json::from_slice(&problem.body()).unwrap();
        assert_eq!(json["detail"], detail);
        assert_eq!(json["code"], "bad");
        assert_eq!(json["status"], 400);
        assert_eq!(json["title"], "Bad Request");
    }
}
