use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use axum::body::HttpBody;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::MethodRouter;
use axum::routing::post;
use http_body_util::BodyExt;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;
use towerkit::http::Problem;

use crate::Endpoint;
use crate::StringService;
use crate::count;
use crate::uppercase;

/// The longest request body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// Routes HTTP to the endpoints of `service`.
pub fn routes(service: Arc<impl StringService>) -> Router {
    Router::new()
        .route("/uppercase", serve(uppercase(service.clone())))
        .route("/count", serve(count(service)))
        .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED))
        .fallback(async || problem(StatusCode::NOT_FOUND))
}

/// Serves an endpoint over HTTP: decode, call, encode.
fn serve<Req, T>(endpoint: impl Endpoint<Req, Response = T>) -> MethodRouter
where
    Req: DeserializeOwned + Send + 'static,
    T: Serialize + Send,
{
    post(async move |body: Body| match decode::<Req>(body).await {
        Ok(request) => {
            let Ok(response) = endpoint.oneshot(request.into()).await;
            encode(&response)
        }
        Err(problem) => problem.respond(),
    })
}

/// Reads a request from JSON, whatever the content type says: `curl -d` says that it sends a form.
async fn decode<Req: DeserializeOwned>(body: Body) -> Result<Req, Problem> {
    let json = read(body).await?;
    serde_json::from_slice(&json).map_err(|error| {
        let what = if error.is_data() {
            "not what this operation takes"
        } else {
            "malformed JSON"
        };
        let (line, column) = (error.line(), error.column());
        Problem::new(StatusCode::BAD_REQUEST)
            .detail(format!("{what} at line {line}, column {column}"))
    })
}

/// Reads the whole body. A length that is declared too long is rejected before anything is read.
async fn read(body: Body) -> Result<Bytes, Problem> {
    let too_long = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE).detail("more than 1 MiB");
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_long());
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(read) => Ok(read.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_long()),
        Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST).detail("the body broke off")),
    }
}

/// Writes a response as JSON. Nothing is sent before all of it is written.
fn encode(response: &impl Serialize) -> Response {
    match serde_json::to_vec(response) {
        Ok(json) => ([(CONTENT_TYPE, JSON)], json).into_response(),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers with a problem that its status says all about.
pub(crate) fn problem(status: StatusCode) -> Response {
    Problem::new(status).respond()
}

#[cfg(test)]
mod tests {
    use serde::Serializer;
    use serde::ser::Error;

    use super::*;

    struct Unencodable;

    impl Serialize for Unencodable {
        fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("a secret"))
        }
    }

    /// A1.6
    #[tokio::test]
    async fn an_unencodable_response_is_a_problem_without_internals() {
        let response = encode(&Unencodable);
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }
}
