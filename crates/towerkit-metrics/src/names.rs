//! The names of metrics and labels: OpenTelemetry's semantic conventions 1.45, as Prometheus spells them.

use towerkit_core::{Call, ProtocolKind, Status};

/// The value of a label for all that has no series of its own, as OpenTelemetry has it for unknown methods.
pub(crate) const OTHER: &str = "_OTHER";

/// The side of a call on which it is observed, which the names say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

impl Side {
    fn route(self) -> &'static str {
        match self {
            Self::Server => "http_route",
            Self::Client => "url_template",
        }
    }
}

/// What the series of a call are chosen by, besides its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Grpc,
    Http(Method),
}

/// The place of an HTTP method in [`METHODS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Method(u8);

/// The methods that the conventions know, after the name for all others.
const METHODS: [&str; 11] = [
    OTHER, "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];

/// A metric: its name, and the help that goes with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
}

impl Method {
    #[inline]
    fn of(method: &str) -> Self {
        Self(match method {
            "CONNECT" => 1,
            "DELETE" => 2,
            "GET" => 3,
            "HEAD" => 4,
            "OPTIONS" => 5,
            "PATCH" => 6,
            "POST" => 7,
            "PUT" => 8,
            "QUERY" => 9,
            "TRACE" => 10,
            _ => 0,
        })
    }

    fn as_str(self) -> &'static str {
        METHODS[usize::from(self.0)]
    }
}

impl Kind {
    /// How many kinds there are.
    pub(crate) const COUNT: usize = 2 + METHODS.len();

    #[inline]
    pub(crate) fn of<Req>(call: &Call<'_, Req>) -> Self {
        match call.protocol_kind() {
            ProtocolKind::Http => Self::Http(Method::of(call.method().unwrap_or(OTHER))),
            ProtocolKind::Grpc => Self::Grpc,
            _ => Self::Plain,
        }
    }

    /// Returns a number below [`COUNT`](Self::COUNT), one for each kind.
    #[inline]
    pub(crate) fn index(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Grpc => 1,
            Self::Http(method) => 2 + method.0,
        }
    }

    /// Returns the kind of a number from [`index`](Self::index).
    pub(crate) fn at(index: u8) -> Self {
        match index {
            0 => Self::Plain,
            1 => Self::Grpc,
            _ => Self::Http(Method(index - 2)),
        }
    }

    pub(crate) fn duration(self, side: Side) -> Metric {
        let (name, help) = match (self, side) {
            (Self::Plain, _) => ("towerkit_call_duration_seconds", "Duration of calls."),
            (Self::Grpc, Side::Server) => (
                "rpc_server_call_duration_seconds",
                "Duration of incoming remote procedure calls.",
            ),
            (Self::Grpc, Side::Client) => (
                "rpc_client_call_duration_seconds",
                "Duration of outgoing remote procedure calls.",
            ),
            (Self::Http(_), Side::Server) => (
                "http_server_request_duration_seconds",
                "Duration of HTTP server requests.",
            ),
            (Self::Http(_), Side::Client) => (
                "http_client_request_duration_seconds",
                "Duration of HTTP client requests.",
            ),
        };
        Metric { name, help }
    }

    pub(crate) fn active(self, side: Side) -> Metric {
        let (name, help) = match (self, side) {
            (Self::Plain, _) => ("towerkit_calls_active", "Calls that are not over yet."),
            (Self::Grpc, Side::Server) => (
                "towerkit_rpc_server_active_calls",
                "Incoming remote procedure calls that are not over yet.",
            ),
            (Self::Grpc, Side::Client) => (
                "towerkit_rpc_client_active_calls",
                "Outgoing remote procedure calls that are not over yet.",
            ),
            (Self::Http(_), Side::Server) => (
                "http_server_active_requests",
                "HTTP server requests that are not over yet.",
            ),
            (Self::Http(_), Side::Client) => (
                "http_client_active_requests",
                "HTTP client requests that are not over yet.",
            ),
        };
        Metric { name, help }
    }

    /// Returns the metric of rejected calls.
    pub(crate) fn rejected(self, side: Side) -> Metric {
        let (name, help) = match (self, side) {
            (Self::Plain, _) => ("towerkit_calls_rejected_total", "Calls that were rejected."),
            (Self::Grpc, Side::Server) => (
                "towerkit_rpc_server_rejected_calls_total",
                "Incoming remote procedure calls that were rejected.",
            ),
            (Self::Grpc, Side::Client) => (
                "towerkit_rpc_client_rejected_calls_total",
                "Outgoing remote procedure calls that were rejected.",
            ),
            (Self::Http(_), Side::Server) => (
                "towerkit_http_server_rejected_requests_total",
                "HTTP server requests that were rejected.",
            ),
            (Self::Http(_), Side::Client) => (
                "towerkit_http_client_rejected_requests_total",
                "HTTP client requests that were rejected.",
            ),
        };
        Metric { name, help }
    }

    /// Returns the metric of the time to the head of a response, where the protocol has heads.
    pub(crate) fn time_to_head(self, side: Side) -> Option<Metric> {
        let (name, help) = match (self, side) {
            (Self::Plain, _) => return None,
            (Self::Grpc, Side::Server) => (
                "towerkit_rpc_server_time_to_head_seconds",
                "Time from the start of incoming remote procedure calls to the head of the response.",
            ),
            (Self::Grpc, Side::Client) => (
                "towerkit_rpc_client_time_to_head_seconds",
                "Time from the start of outgoing remote procedure calls to the head of the response.",
            ),
            (Self::Http(_), Side::Server) => (
                "towerkit_http_server_time_to_head_seconds",
                "Time from the start of HTTP server requests to the head of the response.",
            ),
            (Self::Http(_), Side::Client) => (
                "towerkit_http_client_time_to_head_seconds",
                "Time from the start of HTTP client requests to the head of the response.",
            ),
        };
        Some(Metric { name, help })
    }

    /// Returns the metrics of the sizes of the bodies of a request and of a response, where they can be known.
    pub(crate) fn sizes(self, side: Side) -> [Option<Metric>; 2] {
        let metric = |name, help| Some(Metric { name, help });
        match (self, side) {
            (Self::Plain, _) => [None, None],
            // The length of a gRPC request is not declared. Conventions before 1.38 had the name of the response's.
            (Self::Grpc, Side::Server) => [
                None,
                metric(
                    "towerkit_rpc_server_response_size_bytes",
                    "Size of RPC responses.",
                ),
            ],
            (Self::Grpc, Side::Client) => [
                None,
                metric(
                    "towerkit_rpc_client_response_size_bytes",
                    "Size of RPC responses.",
                ),
            ],
            (Self::Http(_), Side::Server) => [
                metric(
                    "http_server_request_body_size_bytes",
                    "Size of HTTP server request bodies.",
                ),
                metric(
                    "http_server_response_body_size_bytes",
                    "Size of HTTP server response bodies.",
                ),
            ],
            (Self::Http(_), Side::Client) => [
                metric(
                    "http_client_request_body_size_bytes",
                    "Size of HTTP client request bodies.",
                ),
                metric(
                    "http_client_response_body_size_bytes",
                    "Size of HTTP client response bodies.",
                ),
            ],
        }
    }

    /// Returns the labels that are known when a call starts.
    pub(crate) fn labels(self, side: Side, operation: &str) -> Vec<(&'static str, &str)> {
        match self {
            Self::Plain => vec![("operation", operation)],
            Self::Grpc => vec![("rpc_system_name", "grpc"), ("rpc_method", operation)],
            Self::Http(method) => vec![
                ("http_request_method", method.as_str()),
                (side.route(), operation),
            ],
        }
    }

    /// Returns the label of the code that a call ends with, where the protocol has codes.
    pub(crate) fn status(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Grpc => Some("rpc_status_code"),
            Self::Http(_) => Some("http_response_status_code"),
        }
    }
}

/// Returns what the label of the code says; nothing if no code was given.
pub(crate) fn code(kind: Kind, status: Option<Status>) -> String {
    match status {
        None => String::new(),
        // What claimed to be gRPC and was answered otherwise has no code of gRPC.
        Some(Status::Http(_)) if kind == Kind::Grpc => String::new(),
        // A code that gRPC does not know has no name.
        Some(Status::Grpc(code)) if code > 16 => code.to_string(),
        Some(status) => status
            .grpc_name()
            .map_or_else(|| status.to_string(), str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_method_has_its_own_name_and_no_other_has_one() {
        for (index, method) in METHODS.into_iter().enumerate() {
            assert_eq!(usize::from(Method::of(method).0), index);
            assert_eq!(Method::of(method).as_str(), method);
        }
        assert_eq!(Method::of("get").as_str(), OTHER);
        assert_eq!(Method::of("PROPFIND").as_str(), OTHER);
    }

    #[test]
    fn codes_are_written_as_the_conventions_write_them() {
        assert_eq!(code(Kind::Http(Method(0)), Some(Status::Http(404))), "404");
        assert_eq!(code(Kind::Grpc, Some(Status::Http(404))), "");
        assert_eq!(code(Kind::Grpc, Some(Status::Grpc(4))), "DEADLINE_EXCEEDED");
        assert_eq!(code(Kind::Grpc, Some(Status::Grpc(99))), "99");
        assert_eq!(code(Kind::Plain, None), "");
    }
}
