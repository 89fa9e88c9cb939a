use std::{borrow::Cow, error::Error, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use towerkit_core::CarriesRejection;
#[cfg(feature = "client")]
use towerkit_core::ErrorCode;
use towerkit_endpoint::{IntoRpcError, RpcError};

/// The error object of a response: the number, the message and the data that an upstream sent.
///
/// It is the source of the [`RpcError`] of a client, for a caller that needs the number of an upstream which is not of this project:
///
/// ```
/// use std::error::Error;
/// use towerkit_endpoint::RpcError;
/// use towerkit_transport_jsonrpc::ErrorObject;
///
/// fn number(error: &RpcError) -> Option<i64> {
///     let object: &ErrorObject = error.source()?.downcast_ref()?;
///     Some(object.code())
/// }
/// ```
///
/// The specification has the [numbers](https://www.jsonrpc.org/specification#error_object) from -32768 to -32000.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorObject {
    code: i64,
    message: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

/// The member `data` of this project's errors.
#[derive(Serialize)]
struct Data {
    /// The [`ErrorCode`](towerkit_core::ErrorCode), or the reason of a rejection.
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;

impl ErrorObject {
    pub(crate) const PARSE_ERROR: Self = Self::specified(PARSE_ERROR, "Parse error");
    pub(crate) const INVALID_REQUEST: Self = Self::specified(INVALID_REQUEST, "Invalid Request");

    /// Makes an error that the specification describes completely, and that has no data therefore.
    const fn specified(code: i64, message: &'static str) -> Self {
        Self {
            code,
            message: Cow::Borrowed(message),
            data: None,
        }
    }

    pub(crate) fn batch_too_long(limit: usize) -> Self {
        Self {
            message: format!("the batch has more than {limit} calls").into(),
            ..Self::INVALID_REQUEST
        }
    }

    /// Returns the number of the error.
    #[must_use]
    pub fn code(&self) -> i64 {
        self.code
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the data, if there is any, as JSON.
    #[must_use]
    pub fn data(&self) -> Option<&RawValue> {
        self.data.as_deref()
    }
}

/// Makes the object that a caller gets for an error of a call.
impl From<RpcError> for ErrorObject {
    fn from(error: RpcError) -> Self {
        let code = error.code();
        let message = error.message().into_owned().into();
        let number = i64::from(code.json_rpc_number());
        if number == METHOD_NOT_FOUND {
            return Self {
                code: number,
                message,
                data: None,
            };
        }
        let data = Data {
            code: match error.rejection() {
                Some(rejection) => rejection.reason().as_str(),
                None => code.as_str(),
            },
            retry_after_ms: error.retry_after().map(millis),
        };
        Self {
            code: number,
            message,
            data: to_raw_value(&data).ok(),
        }
    }
}

/// Returns the code of an error with this number, if the specification has it.
#[cfg(feature = "client")]
pub(crate) fn code_of(number: i64) -> Option<ErrorCode> {
    const INVALID_PARAMS: i64 = -32602;
    const INTERNAL_ERROR: i64 = -32603;
    match number {
        METHOD_NOT_FOUND => Some(ErrorCode::Unimplemented),
        PARSE_ERROR | INVALID_REQUEST | INVALID_PARAMS => Some(ErrorCode::InvalidArgument),
        INTERNAL_ERROR => Some(ErrorCode::Internal),
        _ => None,
    }
}

/// Rounds up: a retry that is sent after this time must not be too early.
fn millis(wait: Duration) -> u64 {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX)
}

impl fmt::Display for ErrorObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JSON-RPC error {}", self.code)
    }
}

impl Error for ErrorObject {}
