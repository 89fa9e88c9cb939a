//! The spans of calls, with the names and attributes of OpenTelemetry's semantic conventions.

use std::sync::Arc;

use towerkit_core::{Call, CallEnd, ProtocolKind, Side, Status, error_type};
use tracing::{Span, field::Empty};

use crate::{
    link,
    redaction::cut,
    url::{self, Server},
};

/// The kind of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An incoming call.
    Server,
    /// One attempt of an outgoing call.
    Client,
    /// A call with all of its attempts, or a call inside the process.
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

/// The optional attributes of spans.
#[derive(Debug, Clone)]
pub(crate) struct SpanOptions {
    pub(crate) url: bool,
    pub(crate) server: bool,
    pub(crate) body_size: bool,
    /// The server of requests without an authority.
    pub(crate) authority: Option<Arc<str>>,
}

impl Default for SpanOptions {
    fn default() -> Self {
        Self {
            url: true,
            server: true,
            body_size: false,
            authority: None,
        }
    }
}

/// Begins the span of a call.
pub(crate) fn begin<Req>(kind: Kind, options: &SpanOptions, call: &Call<'_, Req>) -> Span {
    match call.protocol_kind() {
        ProtocolKind::Grpc => begin_grpc(kind, options, call),
        ProtocolKind::Http => begin_http(kind, options, call),
        ProtocolKind::JsonRpc => begin_json_rpc(kind, options, call),
        _ => begin_plain(kind, call.operation()),
    }
}

/// The header in which `towerkit-retry` counts attempts.
const ATTEMPT: &str = "x-retry-attempt";

fn begin_http<Req>(kind: Kind, options: &SpanOptions, call: &Call<'_, Req>) -> Span {
    let method = call.method().unwrap_or_default();
    let known = known_method(method);
    let route = route(call.operation());
    let (is_server, is_client) = (kind == Kind::Server, kind == Kind::Client);
    let target = call.target().unwrap_or_default();
    let scheme = match is_server {
        true => Some(url::scheme(&target, call.header("x-forwarded-proto"))),
        false => target.scheme,
    };
    let authority = target.authority.or_else(|| call.header("host"));
    let server = server(kind, options, authority).with_scheme(scheme);
    let (of_server, of_client) = (is_server && options.url, is_client && options.url);
    named(if known == OTHER { "HTTP" } else { known }, route, |name| {
        tracing::info_span!(
            target: "towerkit::trace",
            "call",
            otel.name = name,
            otel.kind = kind.as_str(),
            otel.status_code = Empty,
            otel.status_description = Empty,
            http.request.method = known,
            http.request.method_original = (known == OTHER).then(|| cut(method, LONGEST_NAME)),
            http.request.resend_count = resends(kind, call),
            http.route = route.filter(|_| !is_client),
            url.template = route.filter(|_| is_client),
            url.scheme = scheme.filter(|_| of_server),
            url.path = of_server.then(|| url::path(target.path)).as_deref(),
            url.query = target.query.filter(|_| of_server).map(url::query).as_deref(),
            url.full = of_client.then(|| url::full(&target, authority)).flatten().as_deref(),
            server.address = server.address,
            server.port = server.port.map(i64::from),
            http.response.status_code = Empty,
            http.response.body.size = Empty,
            error.type = Empty,
        )
    })
}

fn begin_grpc<Req>(kind: Kind, options: &SpanOptions, call: &Call<'_, Req>) -> Span {
    let method = cut(call.operation(), LONGEST_NAME);
    let target = call.target().unwrap_or_default();
    let server = server(
        kind,
        options,
        target.authority.or_else(|| call.header("host")),
    );
    tracing::info_span!(
        target: "towerkit::trace",
        "call",
        otel.name = method,
        otel.kind = kind.as_str(),
        otel.status_code = Empty,
        otel.status_description = Empty,
        rpc.system.name = GRPC,
        rpc.method = (kind != Kind::Server).then_some(method),
        rpc.method_original = Empty,
        server.address = server.address,
        server.port = server.port.map(i64::from),
        http.request.resend_count = resends(kind, call),
        rpc.status_code = Empty,
        http.response.status_code = Empty,
        http.response.body.size = Empty,
        error.type = Empty,
    )
}

/// The server knows its methods, so the method is known at once.
fn begin_json_rpc<Req>(kind: Kind, options: &SpanOptions, call: &Call<'_, Req>) -> Span {
    let method = call.operation();
    let is_known = call.is_routed();
    let unknown = call.path().filter(|_| !is_known);
    let server = server(kind, options, call.header("host"));
    tracing::info_span!(
        target: "towerkit::trace",
        "call",
        otel.name = if is_known { method } else { JSON_RPC },
        otel.kind = kind.as_str(),
        otel.status_code = Empty,
        otel.status_description = Empty,
        rpc.system.name = JSON_RPC,
        rpc.method = if is_known { method } else { OTHER },
        rpc.method_original = unknown.map(|name| cut(name, LONGEST_NAME)),
        jsonrpc.protocol.version = "2.0",
        server.address = server.address,
        server.port = server.port.map(i64::from),
        http.request.resend_count = resends(kind, call),
        rpc.status_code = Empty,
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
        otel.status_description = Empty,
        error.type = Empty,
    )
}

/// Returns the server of a call between processes.
fn server<'a>(kind: Kind, options: &'a SpanOptions, authority: Option<&'a str>) -> Server<'a> {
    if !options.server || kind == Kind::Internal {
        return Server::default();
    }
    let authority = authority.or(options.authority.as_deref());
    authority.map(Server::of).unwrap_or_default()
}

/// Returns the gRPC method that a caller requested, which may not exist: the end of the call shows it.
// An attribute that is set twice is there twice, so it is set at the end.
pub(crate) fn unknown_method<Req>(kind: Kind, call: &Call<'_, Req>) -> Option<Box<str>> {
    let is_unknown = kind == Kind::Server && call.protocol_kind() == ProtocolKind::Grpc;
    is_unknown.then(|| cut(call.operation(), LONGEST_NAME).into())
}

/// Records the method of a server's call, or that the method is unknown.
pub(crate) fn record_method(span: &Span, method: &str, end: &CallEnd) {
    if knows_method(end) {
        span.record("rpc.method", method);
        return;
    }
    tracing::record_all!(span, rpc.method = OTHER, rpc.method_original = method);
    link::rename(span, GRPC);
}

/// Records the end of a call on its span.
pub(crate) fn end(
    kind: Kind,
    options: &SpanOptions,
    protocol: ProtocolKind,
    span: &Span,
    end: &CallEnd,
) {
    match end.status() {
        Some(Status::Http(status)) => {
            span.record("http.response.status_code", i64::from(status));
            if options.body_size {
                span.record("http.response.body.size", signed(end.bytes()));
            }
        }
        Some(status) => {
            span.record(
                "rpc.status_code",
                status.rpc_status_code(protocol).as_deref(),
            );
        }
        None => {}
    }
    let side = match kind {
        Kind::Server => Side::Server,
        Kind::Client | Kind::Internal => Side::Client,
    };
    if let Some(error) = error_type(side, protocol, end.outcome(), end.status()) {
        tracing::record_all!(span, otel.status_code = "ERROR", error.type = error.as_ref());
        describe(span, end);
    }
}

/// Records the cause of an error that its type does not show.
fn describe(span: &Span, end: &CallEnd) {
    if end.has_panicked() {
        span.record("otel.status_description", "the service panicked");
    } else if let Some(reason) = end.rejection_reason() {
        let description = format!("rejected: {reason}");
        span.record("otel.status_description", description.as_str());
    }
}

/// Converts to a signed integer, because `tracing-opentelemetry` records unsigned ones as text.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns true unless the service reported the method, whose name the caller chose, as unknown.
fn knows_method(end: &CallEnd) -> bool {
    const UNIMPLEMENTED: u16 = 12;
    !matches!(
        end.status(),
        Some(Status::Http(_) | Status::Grpc(UNIMPLEMENTED))
    )
}

/// Names a span `METHOD route`, or by the method alone if the route is unknown.
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

/// Returns the route, if the protocol knows a router.
fn route(operation: &str) -> Option<&str> {
    (operation != "unmatched").then_some(operation)
}

const OTHER: &str = "_OTHER";
const GRPC: &str = "grpc";
const JSON_RPC: &str = "jsonrpc";

/// The longest name chosen by a caller that is recorded, in bytes.
const LONGEST_NAME: usize = 128;

/// Returns the method, or `_OTHER` for one that HTTP does not define.
fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 10] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "QUERY", "CONNECT", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method);
    known.unwrap_or(OTHER)
}

/// Returns the number of earlier attempts of this request.
fn resends<Req>(kind: Kind, call: &Call<'_, Req>) -> Option<i64> {
    if kind != Kind::Client {
        return None;
    }
    call.header(ATTEMPT)?.parse().ok().map(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_length_is_concatenated() {
        for length in 0..300 {
            let route = format!("/{}", "é".repeat(length));
            let name = named("GET", Some(&route), str::to_owned);
            assert_eq!(name, format!("GET {route}"));
        }
        assert_eq!(named("GET", None, str::to_owned), "GET");
    }
}
