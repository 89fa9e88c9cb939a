//! The kind of a call, which selects its metrics and their labels.

use std::borrow::Cow;

use towerkit_core::{Call, ProtocolKind, Side, Status};

use crate::metric_table::{self as table, MetricDescriptor};

/// The label value of all calls that have no series of their own, as in the conventions for unknown HTTP methods.
pub(crate) const OVERFLOW: &str = "_OTHER";

/// The protocol of a call and, over HTTP, its method. Together with the operation it selects the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    Plain,
    Grpc,
    JsonRpc,
    Http(HttpMethod),
}

/// The index of an HTTP method in [`METHODS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HttpMethod(u8);

/// The methods that the conventions list, after the value for all others.
const METHODS: [&str; 11] = [
    OVERFLOW, "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY",
    "TRACE",
];

/// The metrics of the calls of one protocol on one [`Side`].
#[derive(Debug)]
pub(crate) struct CallMetrics {
    pub(crate) duration: &'static MetricDescriptor,
    pub(crate) active: &'static MetricDescriptor,
    pub(crate) rejected: &'static MetricDescriptor,
    /// `None` for calls without a head: plain ones, and those of JSON-RPC.
    pub(crate) time_to_head: Option<&'static MetricDescriptor>,
    /// `None` except over HTTP: a gRPC request does not declare its length.
    pub(crate) request_size: Option<&'static MetricDescriptor>,
    pub(crate) response_size: Option<&'static MetricDescriptor>,
}

static PLAIN: CallMetrics = CallMetrics {
    duration: &table::CALL_DURATION,
    active: &table::CALLS_ACTIVE,
    rejected: &table::CALLS_REJECTED,
    time_to_head: None,
    request_size: None,
    response_size: None,
};

const RPC_SERVER: CallMetrics = CallMetrics {
    duration: &table::RPC_SERVER_DURATION,
    active: &table::RPC_SERVER_ACTIVE,
    rejected: &table::RPC_SERVER_REJECTED,
    time_to_head: Some(&table::RPC_SERVER_TIME_TO_HEAD),
    request_size: None,
    response_size: Some(&table::RPC_SERVER_RESPONSE_SIZE),
};

const RPC_CLIENT: CallMetrics = CallMetrics {
    duration: &table::RPC_CLIENT_DURATION,
    active: &table::RPC_CLIENT_ACTIVE,
    rejected: &table::RPC_CLIENT_REJECTED,
    time_to_head: Some(&table::RPC_CLIENT_TIME_TO_HEAD),
    request_size: None,
    response_size: Some(&table::RPC_CLIENT_RESPONSE_SIZE),
};

// A call of JSON-RPC is a part of a request, so it has no head and no body of its own.
static JSON_RPC_SERVER: CallMetrics = CallMetrics {
    time_to_head: None,
    response_size: None,
    ..RPC_SERVER
};

static JSON_RPC_CLIENT: CallMetrics = CallMetrics {
    time_to_head: None,
    response_size: None,
    ..RPC_CLIENT
};

static HTTP_SERVER: CallMetrics = CallMetrics {
    duration: &table::HTTP_SERVER_DURATION,
    active: &table::HTTP_SERVER_ACTIVE,
    rejected: &table::HTTP_SERVER_REJECTED,
    time_to_head: Some(&table::HTTP_SERVER_TIME_TO_HEAD),
    request_size: Some(&table::HTTP_SERVER_REQUEST_SIZE),
    response_size: Some(&table::HTTP_SERVER_RESPONSE_SIZE),
};

static HTTP_CLIENT: CallMetrics = CallMetrics {
    duration: &table::HTTP_CLIENT_DURATION,
    active: &table::HTTP_CLIENT_ACTIVE,
    rejected: &table::HTTP_CLIENT_REJECTED,
    time_to_head: Some(&table::HTTP_CLIENT_TIME_TO_HEAD),
    request_size: Some(&table::HTTP_CLIENT_REQUEST_SIZE),
    response_size: Some(&table::HTTP_CLIENT_RESPONSE_SIZE),
};

impl HttpMethod {
    #[inline]
    fn from_name(method: &str) -> Self {
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

impl CallKind {
    /// The number of kinds.
    pub(crate) const COUNT: usize = 3 + METHODS.len();

    #[inline]
    pub(crate) fn of<Req>(call: &Call<'_, Req>) -> Self {
        match call.protocol_kind() {
            ProtocolKind::Http => {
                Self::Http(HttpMethod::from_name(call.method().unwrap_or(OVERFLOW)))
            }
            ProtocolKind::Grpc => Self::Grpc,
            ProtocolKind::JsonRpc => Self::JsonRpc,
            _ => Self::Plain,
        }
    }

    /// Returns a unique index below [`COUNT`](Self::COUNT).
    #[inline]
    pub(crate) fn index(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Grpc => 1,
            Self::JsonRpc => 2,
            Self::Http(method) => 3 + method.0,
        }
    }

    /// Returns the kind with this [`index`](Self::index).
    pub(crate) fn from_index(index: u8) -> Self {
        match index {
            0 => Self::Plain,
            1 => Self::Grpc,
            2 => Self::JsonRpc,
            _ => Self::Http(HttpMethod(index - 3)),
        }
    }

    /// Returns the metrics of these calls.
    pub(crate) fn metrics(self, side: Side) -> &'static CallMetrics {
        match (self, side) {
            (Self::Plain, _) => &PLAIN,
            (Self::Grpc, Side::Server) => &RPC_SERVER,
            (Self::Grpc, Side::Client) => &RPC_CLIENT,
            (Self::JsonRpc, Side::Server) => &JSON_RPC_SERVER,
            (Self::JsonRpc, Side::Client) => &JSON_RPC_CLIENT,
            (Self::Http(_), Side::Server) => &HTTP_SERVER,
            (Self::Http(_), Side::Client) => &HTTP_CLIENT,
        }
    }

    /// Returns the labels that are known at the start of a call.
    pub(crate) fn labels(self, side: Side, operation: &str) -> Vec<(&'static str, &str)> {
        let route = match side {
            Side::Server => "http_route",
            Side::Client => "url_template",
        };
        match self {
            Self::Plain => vec![("operation", operation)],
            Self::Grpc => vec![("rpc_system_name", "grpc"), ("rpc_method", operation)],
            Self::JsonRpc => vec![
                ("rpc_system_name", "jsonrpc"),
                ("rpc_method", rpc_method(operation)),
            ],
            Self::Http(method) => {
                vec![("http_request_method", method.as_str()), (route, operation)]
            }
        }
    }

    /// Returns the name of the label for the status, if the protocol has one.
    pub(crate) fn status_label_name(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Grpc | Self::JsonRpc => Some("rpc_status_code"),
            Self::Http(_) => Some("http_response_status_code"),
        }
    }
}

/// Returns the label value of a method of JSON-RPC; calls of unknown methods have one operation.
fn rpc_method(operation: &str) -> &str {
    match operation {
        "unmatched" => OVERFLOW,
        operation => operation,
    }
}

/// Returns the label value of a [`Status`], empty for a call that ended without one.
pub(crate) fn status_label(kind: CallKind, status: Option<Status>) -> String {
    match status {
        None => String::new(),
        // The response to a gRPC request may come from a server that does not speak gRPC: it has no gRPC code.
        Some(Status::Http(_)) if matches!(kind, CallKind::Grpc | CallKind::JsonRpc) => {
            String::new()
        }
        Some(status) if kind == CallKind::JsonRpc => {
            let code = status.rpc_status_code(ProtocolKind::JsonRpc);
            code.map_or_else(String::new, Cow::into_owned)
        }
        // gRPC defines the codes 0 to 16; other codes have no name.
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
            assert_eq!(usize::from(HttpMethod::from_name(method).0), index);
            assert_eq!(HttpMethod::from_name(method).as_str(), method);
        }
        assert_eq!(HttpMethod::from_name("get").as_str(), OVERFLOW);
        assert_eq!(HttpMethod::from_name("PROPFIND").as_str(), OVERFLOW);
    }

    #[test]
    fn status_codes_are_written_as_in_the_conventions() {
        assert_eq!(
            status_label(CallKind::Http(HttpMethod(0)), Some(Status::Http(404))),
            "404"
        );
        assert_eq!(status_label(CallKind::Grpc, Some(Status::Http(404))), "");
        assert_eq!(
            status_label(CallKind::Grpc, Some(Status::Grpc(4))),
            "DEADLINE_EXCEEDED"
        );
        assert_eq!(status_label(CallKind::Grpc, Some(Status::Grpc(99))), "99");
        assert_eq!(status_label(CallKind::Plain, None), "");
        let json_rpc = |code| status_label(CallKind::JsonRpc, Some(Status::Grpc(code)));
        assert_eq!(
            [json_rpc(0), json_rpc(3), json_rpc(8)],
            ["", "-32602", "-32008"]
        );
    }

    #[test]
    fn every_kind_has_an_index_of_its_own() {
        for index in 0..u8::try_from(CallKind::COUNT).unwrap() {
            assert_eq!(CallKind::from_index(index).index(), index);
        }
    }
}
