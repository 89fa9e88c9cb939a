use http::{HeaderValue, Response, StatusCode, header};
use towerkit_core::CarriesRejection;
use towerkit_endpoint::{IntoRpcError, RpcError};
use towerkit_http::{Problem, rejection_response, retry_after_value};

use crate::ResponseBody;

/// Makes the response for an error: problem details ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
///
/// The member `detail` has the message, and `code` the [`ErrorCode`](towerkit_core::ErrorCode), or the reason of a rejection. The response has `Retry-After` if the
/// error says when a retry may succeed, and the headers of a rejection.
///
/// ```
/// use towerkit_core::ErrorCode;
/// use towerkit_endpoint::RpcError;
/// use towerkit_transport_http::problem;
///
/// let response = problem(&RpcError::new(ErrorCode::NotFound, "no such profile"));
/// assert_eq!(response.status(), 404);
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// ```
#[must_use]
pub fn problem(error: &RpcError) -> Response<ResponseBody> {
    if let Some(rejection) = error.rejection() {
        return rejection_response(rejection.clone());
    }
    let status = StatusCode::from_u16(error.http_status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Problem::new(status)
        .detail(error.message().into_owned())
        .code(error.code().as_str())
        .respond();
    let headers = response.headers_mut();
    if let Some(wait) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, retry_after_value(wait));
    }
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110, section 15.5.2: a 401 has a challenge.
        let bearer = HeaderValue::from_static("Bearer");
        headers.insert(header::WWW_AUTHENTICATE, bearer);
    }
    response
}
