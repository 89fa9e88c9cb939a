use std::{borrow::Cow, fmt::Write};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

/// Problem details: what went wrong, as JSON that a program can read (RFC 9457).
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
    /// Describes a problem that its status says all about.
    #[must_use]
    pub const fn new(status: StatusCode) -> Self {
        Self {
            status,
            detail: None,
            code: None,
        }
    }

    /// Adds a sentence for people. It is sent to the caller: no internals.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a word for programs, the extension member `code`.
    #[must_use]
    pub const fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Makes the response.
    #[must_use]
    pub fn respond<B: From<Bytes>>(self) -> Response<B> {
        let mut response = Response::new(B::from(self.body()));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, CONTENT_TYPE);
        response
    }

    /// Returns the JSON.
    pub(crate) fn body(&self) -> Bytes {
        let title = self.status.canonical_reason().unwrap_or("Unknown");
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

pub(crate) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Writes the inside of a JSON string (RFC 8259, section 7).
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
