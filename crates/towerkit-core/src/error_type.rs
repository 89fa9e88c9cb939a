use std::borrow::Cow;

use crate::{ErrorCode, Outcome, ProtocolKind, Status};

/// The side of a call on which it is observed: the server or the client.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The server.
    Server,
    /// The client. Calls inside of a process are client calls, too.
    Client,
}

/// Returns the attribute [`error.type`] of a call, or `None` if the call is not an error on this side.
///
/// The rules are those of OpenTelemetry's semantic conventions for [HTTP], [gRPC] and [JSON-RPC], for spans and metrics alike. On a
/// server these are not errors: HTTP statuses 4xx, a gRPC call that the caller cancelled, and the gRPC codes for mistakes of the caller.
/// Every error of JSON-RPC is one. The type is the status if it indicates the error (`503`, `UNAVAILABLE`, `-32602`), and otherwise the
/// outcome (`cancelled`, `failure`).
///
/// [`error.type`]: https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/
/// [HTTP]: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status
/// [gRPC]: https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
/// [JSON-RPC]: https://opentelemetry.io/docs/specs/semconv/rpc/json-rpc/
///
/// ```
/// use towerkit_core::{Outcome, ProtocolKind, Side, Status, error_type};
///
/// let not_found = |side| error_type(side, ProtocolKind::Http, Outcome::ClientError, Some(Status::Http(404)));
/// assert_eq!(not_found(Side::Server), None);
/// assert_eq!(not_found(Side::Client).as_deref(), Some("404"));
/// ```
#[doc(hidden)]
#[must_use]
pub fn error_type(
    side: Side,
    protocol: ProtocolKind,
    outcome: Outcome,
    status: Option<Status>,
) -> Option<Cow<'static, str>> {
    if protocol == ProtocolKind::JsonRpc {
        let code = || status.and_then(|status| status.rpc_status_code(protocol));
        let is_error = outcome != Outcome::Success;
        return is_error.then(|| code().unwrap_or(outcome.as_str().into()));
    }
    let blames_caller = side == Side::Server && status.is_some_and(Status::blames_caller);
    let is_error = match outcome {
        Outcome::Success => false,
        Outcome::ClientError => side == Side::Client,
        Outcome::Overloaded => !blames_caller,
        Outcome::Cancelled if side == Side::Server => {
            protocol != ProtocolKind::Grpc && !blames_caller
        }
        _ => true,
    };
    if !is_error {
        return None;
    }
    Some(match status {
        Some(Status::Http(code)) if is_http_error(side, code) => code.to_string().into(),
        Some(Status::Grpc(code)) if is_grpc_error(side, code) => grpc_name(code).into(),
        _ => outcome.as_str().into(),
    })
}

const fn is_http_error(side: Side, code: u16) -> bool {
    match side {
        Side::Server => code >= 500,
        Side::Client => code >= 400,
    }
}

const fn is_grpc_error(side: Side, code: u16) -> bool {
    match side {
        Side::Server => matches!(code, 2 | 4 | 12..=15 | 17..),
        Side::Client => code != 0,
    }
}

impl Status {
    /// Returns the name of a [gRPC status code](https://grpc.io/docs/guides/status-codes/), such as `UNAVAILABLE`; `UNKNOWN` for a
    /// number without a name, and `None` over HTTP.
    #[must_use]
    pub const fn grpc_name(self) -> Option<&'static str> {
        match self {
            Self::Http(_) => None,
            Self::Grpc(code) => Some(grpc_name(code)),
        }
    }

    /// Returns the attribute [`rpc.status_code`] of a call over this protocol: the name of a gRPC code, or the number of a JSON-RPC error.
    ///
    /// A successful response of JSON-RPC has no code.
    ///
    /// [`rpc.status_code`]: https://opentelemetry.io/docs/specs/semconv/registry/attributes/rpc/
    #[doc(hidden)]
    #[must_use]
    pub fn rpc_status_code(self, protocol: ProtocolKind) -> Option<Cow<'static, str>> {
        if protocol != ProtocolKind::JsonRpc {
            return self.grpc_name().map(Cow::Borrowed);
        }
        let number = self.json_rpc_number()?;
        Some(number.to_string().into())
    }

    /// Returns the number of the JSON-RPC error of a call that ended with this gRPC code; `None` for success, and over HTTP.
    #[doc(hidden)]
    #[must_use]
    pub fn json_rpc_number(self) -> Option<i16> {
        match self {
            Self::Http(_) | Self::Grpc(0) => None,
            Self::Grpc(code) => {
                let code = ErrorCode::from_number(code).unwrap_or(ErrorCode::Unknown);
                Some(code.json_rpc_number())
            }
        }
    }
}

const fn grpc_name(code: u16) -> &'static str {
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
    if code < 17 {
        NAMES[code as usize]
    } else {
        "UNKNOWN"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(side: Side, outcome: Outcome, code: Option<u16>) -> Option<String> {
        let status = code.map(Status::Http);
        error_type(side, ProtocolKind::Http, outcome, status).map(Cow::into_owned)
    }

    fn grpc(side: Side, outcome: Outcome, code: Option<u16>) -> Option<String> {
        let status = code.map(Status::Grpc);
        error_type(side, ProtocolKind::Grpc, outcome, status).map(Cow::into_owned)
    }

    #[test]
    fn statuses_of_http_are_errors_as_the_conventions_say() {
        use Outcome::{Cancelled, ClientError, Failure, Overloaded, Success, TimedOut};
        for (outcome, code, server, client) in [
            (Success, Some(200), None, None),
            (Success, Some(302), None, None),
            (ClientError, Some(404), None, Some("404")),
            (Overloaded, Some(429), None, Some("429")),
            (Cancelled, Some(499), None, Some("499")),
            (Failure, Some(500), Some("500"), Some("500")),
            (Overloaded, Some(503), Some("503"), Some("503")),
            (TimedOut, Some(504), Some("504"), Some("504")),
            // A body that broke off, and callers that went away.
            (Failure, Some(200), Some("failure"), Some("failure")),
            (Cancelled, Some(200), Some("cancelled"), Some("cancelled")),
            (Cancelled, Some(404), None, Some("404")),
            (Cancelled, None, Some("cancelled"), Some("cancelled")),
            (Failure, None, Some("failure"), Some("failure")),
            // A classifier of the program's own.
            (Success, Some(500), None, None),
            (Failure, Some(404), Some("failure"), Some("404")),
        ] {
            let expected = |text: Option<&str>| text.map(str::to_owned);
            assert_eq!(
                http(Side::Server, outcome, code),
                expected(server),
                "{code:?}"
            );
            assert_eq!(
                http(Side::Client, outcome, code),
                expected(client),
                "{code:?}"
            );
        }
    }

    #[test]
    fn every_error_of_json_rpc_is_an_error_on_both_sides() {
        let rpc = |side, outcome, status: Option<u16>| {
            let status = status.map(Status::Grpc);
            error_type(side, ProtocolKind::JsonRpc, outcome, status)
        };
        for side in [Side::Server, Side::Client] {
            assert_eq!(rpc(side, Outcome::Success, Some(0)), None);
            for code in ErrorCode::ALL {
                let number = code.json_rpc_number().to_string();
                let found = rpc(side, code.outcome(), Some(code.number()));
                assert_eq!(found.as_deref(), Some(&*number), "{code}");
            }
            let cancelled = rpc(side, Outcome::Cancelled, None);
            assert_eq!(cancelled.as_deref(), Some("cancelled"));
        }
        let code = |protocol, code| Status::Grpc(code).rpc_status_code(protocol);
        assert_eq!(code(ProtocolKind::JsonRpc, 3).as_deref(), Some("-32602"));
        assert_eq!(code(ProtocolKind::JsonRpc, 99).as_deref(), Some("-32002"));
        assert_eq!(code(ProtocolKind::JsonRpc, 0), None);
        assert_eq!(code(ProtocolKind::Grpc, 0).as_deref(), Some("OK"));
    }

    /// The list of the conventions for servers.
    #[test]
    fn codes_of_grpc_are_errors_as_the_conventions_say() {
        let server = [
            "UNKNOWN",
            "DEADLINE_EXCEEDED",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
        ];
        let outcome = |code| match code {
            0 => Outcome::Success,
            1 => Outcome::Cancelled,
            3 | 5..=7 | 9..=11 | 16 => Outcome::ClientError,
            4 => Outcome::TimedOut,
            8 | 14 => Outcome::Overloaded,
            _ => Outcome::Failure,
        };
        for code in 0..=20 {
            let name = Status::Grpc(code).grpc_name().unwrap();
            let expected = server.contains(&name).then(|| name.to_owned());
            assert_eq!(
                grpc(Side::Server, outcome(code), Some(code)),
                expected,
                "{name}"
            );
            let expected = (code != 0).then(|| name.to_owned());
            assert_eq!(
                grpc(Side::Client, outcome(code), Some(code)),
                expected,
                "{name}"
            );
        }
        assert_eq!(grpc(Side::Server, Outcome::Cancelled, None), None);
        let cancelled = grpc(Side::Client, Outcome::Cancelled, None);
        assert_eq!(cancelled.as_deref(), Some("cancelled"));
        assert_eq!(Status::Http(200).grpc_name(), None);
    }
}
