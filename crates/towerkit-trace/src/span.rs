//! The spans of calls, with the names and attributes of OpenTelemetry's semantic conventions.

use std::borrow::Cow;

use towerkit_core::{Call, End, Outcome, ProtocolKind, Reason, Status};
use tracing::{Span, field::Empty};

use crate::link;

/// What a span stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A call that came in.
    Server,
    /// A call that goes out: one attempt.
    Client,
    /// A call with all of its attempts, or one that does not leave the process.
    Internal,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Internal => "internal",
        }
    }
}

/// Begins the span of a call.
pub(crate) fn begin<Req>(kind: Kind, call: &Call<'_, Req>) -> Span {
    match call.protocol() {
        ProtocolKind::Grpc => begin_grpc(kind, call.operation(), resends(kind, call)),
        ProtocolKind::Http => begin_http(
            kind,
            call.method().unwrap_or_default(),
            call.operation(),
            resends(kind, call),
        ),
        _ => begin_plain(kind, call.operation()),
    }
}

/// The field by which `towerkit-retry` counts the attempts of a call.
const ATTEMPT: &str = "x-retry-attempt";

fn begin_http(kind: Kind, method: &str, operation: &str, resends: Option<i64>) -> Span {
    let known = known_method(method);
    let route = route(operation);
    named(if known == OTHER { "HTTP" } else { known }, route, |name| {
        tracing::info_span!(
            target: "towerkit::trace",
            "call",
            otel.name = name,
            otel.kind = kind.as_str(),
            otel.status_code = Empty,
            http.request.method = known,
            http.request.method_original = (known == OTHER).then(|| cut(method)),
            http.request.resend_count = resends,
            http.route = route.filter(|_| kind != Kind::Client),
            url.template = route.filter(|_| kind == Kind::Client),
            http.response.status_code = Empty,
            http.response.body.size = Empty,
            error.type = Empty,
        )
    })
}

fn begin_grpc(kind: Kind, operation: &str, resends: Option<i64>) -> Span {
    tracing::info_span!(
        target: "towerkit::trace",
        "call",
        otel.name = cut(operation),
        otel.kind = kind.as_str(),
        otel.status_code = Empty,
        rpc.system.name = "grpc",
        rpc.method = cut(operation),
        http.request.resend_count = resends,
        rpc.response.status_code = Empty,
        http.response.status_code = Empty,
        http.response.body.size = Empty,
        error.type = Empty,
    )
}

fn begin_plain(kind: Kind, operation: &str) -> Span {
    tracing::info_span!(
        target: "towerkit::trace",
        "call",
        otel.name = operation,
        otel.kind = kind.as_str(),
        otel.status_code = Empty,
        error.type = Empty,
    )
}

/// Says in the span how the call ended, and ends it.
pub(crate) fn end(kind: Kind, protocol: ProtocolKind, span: Span, end: &End) {
    match end.status() {
        Some(Status::Http(status)) => {
            tracing::record_all!(
                span,
                http.response.status_code = i64::from(status),
                http.response.body.size = signed(end.bytes()),
            );
        }
        Some(Status::Grpc(code)) => {
            span.record("rpc.response.status_code", code_name(code));
        }
        _ => {}
    }
    if kind == Kind::Server && protocol == ProtocolKind::Grpc && !knows_method(end) {
        link::rename(&span, OTHER);
    }
    if is_error(kind, end) {
        tracing::record_all!(
            span,
            otel.status_code = "ERROR",
            error.type = error_type(end).as_ref(),
        );
    }
}

/// To OpenTelemetry integers are signed; what is not it records as text.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether nothing says that the service has no such method: whoever calls chooses its name.
fn knows_method(end: &End) -> bool {
    const UNIMPLEMENTED: u16 = 12;
    !matches!(
        end.status(),
        Some(Status::Http(_) | Status::Grpc(UNIMPLEMENTED))
    )
}

/// What a server answers to a caller's mistake is no error of the server's, but one of the client's.
fn is_error(kind: Kind, end: &End) -> bool {
    match end.outcome() {
        Outcome::Success => false,
        Outcome::ClientError => kind != Kind::Server,
        Outcome::Overloaded => {
            kind != Kind::Server || !end.status().is_some_and(Status::blames_caller)
        }
        _ => true,
    }
}

/// `error.type`: the code where there is one, else what happened, in a few fixed words.
fn error_type(end: &End) -> Cow<'static, str> {
    let is_told = end.head() == Some(end.outcome());
    match end.status() {
        _ if end.panicked() => "panic".into(),
        Some(Status::Grpc(code @ 1..)) => code_name(code).into(),
        Some(Status::Http(status @ 400..)) if is_told => status.to_string().into(),
        _ => end
            .refused()
            .map_or(end.outcome().as_str(), Reason::as_str)
            .into(),
    }
}

/// The name of a gRPC code.
fn code_name(code: u16) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::from(code)).copied().unwrap_or("UNKNOWN")
}

/// Names a span `METHOD route`, or by the method alone where no route is known.
fn named<R>(method: &str, route: Option<&str>, run: impl FnOnce(&str) -> R) -> R {
    let Some(route) = route else {
        return run(method);
    };
    let mut buffer = [b' '; 128];
    let length = method.len() + 1 + route.len();
    if length > buffer.len() {
        return run(&format!("{method} {route}"));
    }
    buffer[..method.len()].copy_from_slice(method.as_bytes());
    buffer[method.len() + 1..length].copy_from_slice(route.as_bytes());
    // Two texts and a space are text.
    run(str::from_utf8(&buffer[..length]).unwrap_or(method))
}

/// The route; there is none where the protocol knows no router.
fn route(operation: &str) -> Option<&str> {
    (operation != "unmatched").then_some(operation)
}

const OTHER: &str = "_OTHER";

/// The method, or `_OTHER` for one that no standard knows: whoever calls chooses it.
fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 10] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "QUERY", "CONNECT", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method);
    known.unwrap_or(OTHER)
}

/// The first 128 bytes, or a little less, of what a caller chose.
fn cut(text: &str) -> &str {
    let most = text.len().min(128);
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// How often this request was sent before.
fn resends<Req>(kind: Kind, call: &Call<'_, Req>) -> Option<i64> {
    if kind != Kind::Client {
        return None;
    }
    call.field(ATTEMPT)?.parse().ok().map(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_put_together_whatever_its_length() {
        for length in 0..300 {
            let route = format!("/{}", "é".repeat(length));
            let name = named("GET", Some(&route), str::to_owned);
            assert_eq!(name, format!("GET {route}"));
        }
        assert_eq!(named("GET", None, str::to_owned), "GET");
    }
}
