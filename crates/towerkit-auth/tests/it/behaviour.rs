//! Behaviour as a caller sees it, in the order of the documentation.

use std::{convert::Infallible, task::Poll};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_auth::{
    Admission, AuthError, AuthFuture, AuthLayer, Authenticator, BearerAuth, Challenge, Permissions,
    Principal, Proof, VerifyToken,
};
use towerkit_core::{CallView, LayerExt, OperationSet};
use towerkit_http::{Http, HttpExt, RequestHead};

mod basic;
mod certificates;
mod rejections;
mod schemes;
mod secrecy;

/// The digest of `foo`.
pub(crate) const FOO: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

/// Hashes a password by the cheapest Argon2.
pub(crate) fn hash_of(password: &str) -> String {
    let params = argon2::Params::new(8, 1, 1, Some(32)).unwrap();
    let context = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut output = [0; 32];
    let salt = b"somesaltsomesalt";
    context
        .hash_password_into(password.as_bytes(), salt, &mut output)
        .unwrap();
    let encode = |bytes: &[u8]| BASE64_STANDARD_NO_PAD.encode(bytes);
    format!(
        "$argon2id$v=19$m=8,t=1,p=1${}${}",
        encode(salt),
        encode(&output)
    )
}

/// Responds with the subject of the principal, or with `-`.
async fn whoami(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    let principal: Option<&Principal> = request.extensions().get();
    let subject = principal.map_or("-", Principal::subject).to_owned();
    Ok(Response::new(Full::from(subject)))
}

struct Answer {
    status: StatusCode,
    challenges: Vec<String>,
    body: String,
}

/// Sends a request, where the operation is the path.
async fn send(layer: &AuthLayer, request: Request<()>) -> Answer {
    fn path<'a>(head: RequestHead<'a>) -> &'a str {
        head.uri.path()
    }
    let layer = layer.clone().protocol(Http::new().operation(path));
    let response = layer
        .layer(service_fn(whoami))
        .oneshot(request)
        .await
        .unwrap();
    let challenges = response.headers().get_all("www-authenticate");
    let challenges = challenges
        .iter()
        .map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: response.status(),
        challenges: challenges.collect(),
        body: {
            let body = response.into_body().collect().await.unwrap().to_bytes();
            String::from_utf8(body.to_vec()).unwrap()
        },
    }
}

fn get(path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn bearer(token: &str) -> Request<()> {
    get("/", &[("authorization", &format!("Bearer {token}"))])
}

/// Knows `good`, `admin` and, after a wait, `slow`.
struct Tokens;

impl VerifyToken for Tokens {
    fn verify(
        &self,
        token: &str,
    ) -> Result<Admission<Principal, AuthFuture<Principal>>, AuthError> {
        let principal = |name: &str| Principal::new(name, Proof::BearerToken);
        match token {
            "good" => Ok(Admission::Now(principal("ann").with_scopes(["read"]))),
            "admin" => Ok(Admission::Now(principal("root").with_roles(["admin"]))),
            "slow" => Ok(Admission::Later(Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(principal("sid"))
            }))),
            "slow-bad" => Ok(Admission::Later(Box::pin(async {
                tokio::task::yield_now().await;
                Err(AuthError::invalid("expired"))
            }))),
            "down" => Err(AuthError::unavailable("no keys")),
            "panic" => panic!("verifier"),
            "slow-panic" => Ok(Admission::Later(Box::pin(std::future::poll_fn(
                |_| -> Poll<_> { panic!("verifier") },
            )))),
            _ => Err(AuthError::invalid("unknown")),
        }
    }
}

fn tokens() -> AuthLayer {
    AuthLayer::new(BearerAuth::new("shop", Tokens).unwrap())
}
