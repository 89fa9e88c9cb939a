use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tower::Service;
use towerkit::endpoint::{Request, RpcError, endpoint_fn};

use crate::StringService;

/// An operation as a tower service, which is cloned for each call.
pub trait Endpoint<T>:
    Service<Request<T>, Error = RpcError, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S, T> Endpoint<T> for S where
    S: Service<Request<T>, Error = RpcError, Future: Send> + Clone + Send + Sync + 'static
{
}

/// The message of both operations.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct StringRequest {
    /// The string.
    pub s: String,
}

/// The response of [`uppercase`]. A business error is a response like any other, as in go-kit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct UppercaseResponse {
    /// The upper case string; empty if there is an error.
    pub v: String,
    /// The business error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err: Option<String>,
}

/// The response of [`count`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct CountResponse {
    /// The number of bytes.
    pub v: usize,
}

/// Makes an endpoint of [`StringService::uppercase`].
pub fn uppercase(
    service: Arc<impl StringService>,
) -> impl Endpoint<StringRequest, Response = UppercaseResponse> {
    endpoint_fn(service, |service, request: StringRequest| async move {
        let (v, err) = match service.uppercase(&request.s) {
            Ok(v) => (v, None),
            Err(error) => (String::new(), Some(error.to_string())),
        };
        Ok(UppercaseResponse { v, err })
    })
}

/// Makes an endpoint of [`StringService::count`].
pub fn count(
    service: Arc<impl StringService>,
) -> impl Endpoint<StringRequest, Response = CountResponse> {
    endpoint_fn(service, |service, request: StringRequest| async move {
        let v = service.count(&request.s);
        Ok(CountResponse { v })
    })
}

#[cfg(test)]
mod tests {
    use towerkit::endpoint::EndpointExt;

    use super::*;
    use crate::Strings;

    fn request(s: &str) -> StringRequest {
        StringRequest { s: s.to_owned() }
    }

    /// A1.8
    #[tokio::test]
    async fn an_endpoint_is_called_without_a_socket() {
        let service = Arc::new(Strings);
        let uppercase = uppercase(service.clone()).invoke(request("hello, world"));
        let count = count(service).invoke(request("hello, world"));
        assert_eq!(uppercase.await.unwrap().v, "HELLO, WORLD");
        assert_eq!(count.await.unwrap().v, 12);
    }

    /// A1.3
    #[tokio::test]
    async fn a_business_error_is_a_response() {
        let response = uppercase(Arc::new(Strings)).invoke(request("")).await;
        let expected = UppercaseResponse {
            v: String::new(),
            err: Some("empty string".to_owned()),
        };
        assert_eq!(response.unwrap(), expected);
    }
}
