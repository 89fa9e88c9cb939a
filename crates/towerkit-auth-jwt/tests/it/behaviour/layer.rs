//! Tokens in front of a service.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::{ServiceBuilder, ServiceExt};
use towerkit_auth::{AuthLayer, BearerAuth, Permissions, Principal};
use towerkit_core::{Event, OperationSet};
use towerkit_http::HttpExt;

use crate::tokens::{NOW, SECRET, claims, encode, hs256, signed, token, with};

/// The causes that the layer reports.
type Causes = Arc<Mutex<Vec<String>>>;

fn layer() -> (AuthLayer, Causes) {
    let causes = Causes::default();
    let seen = Arc::clone(&causes);
    let jwt = hs256().audience("orders").roles_claim(["roles"]);
    let layer = AuthLayer::new(BearerAuth::new("orders", jwt).unwrap());
    let layer = layer.events(move |event: &Event| seen.lock().unwrap().push(format!("{event:?}")));
    (layer, causes)
}

/// Sends a request through the layer: status, headers and body of the response.
async fn send(layer: AuthLayer, authorization: Option<&str>) -> (StatusCode, String) {
    let service =
        ServiceBuilder::new()
            .layer(layer.http())
            .service_fn(async |request: Request<()>| {
                let principal = request.extensions().get::<Principal>().unwrap();
                let subject = principal.subject().to_owned();
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(subject)))
            });
    let mut request = Request::new(());
    if let Some(value) = authorization {
        request
            .headers_mut()
            .insert("authorization", value.parse().unwrap());
    }
    let response = service.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (head.status, format!("{:?} {body}", head.headers))
}

/// GK-JW-3
#[tokio::test]
async fn the_token_is_in_the_header_after_the_scheme() {
    let token = token(&with(json!({ "aud": "orders" })));
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let (status, body) = send(layer().0, Some(&format!("{scheme} {token}"))).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.ends_with(" ann"));
    }
    for value in [
        None,
        Some("no expected auth header format value"),
        Some(&*token),
    ] {
        let (layer, causes) = layer();
        let (status, response) = send(layer, value).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(
            response.contains(r#""Bearer realm=\"orders\"""#),
            "{response}"
        );
        assert!(causes.lock().unwrap().is_empty());
    }
}

/// GK-JW-3
#[tokio::test]
async fn the_same_holds_over_grpc() {
    let token = token(&with(json!({ "aud": "orders" })));
    for (value, status) in [
        (Some(format!("bearer {token}")), None),
        (Some(token.clone()), Some("16")),
        (
            Some("no expected auth header format value".to_owned()),
            Some("16"),
        ),
        (None, Some("16")),
    ] {
        let service =
            ServiceBuilder::new()
                .layer(layer().0.grpc())
                .service_fn(async |_: Request<()>| {
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                });
        let mut request = Request::post("/orders.Orders/List").body(()).unwrap();
        request
            .headers_mut()
            .insert("content-type", "application/grpc".parse().unwrap());
        if let Some(value) = value {
            request
                .headers_mut()
                .insert("authorization", value.parse().unwrap());
        }
        let response = service.oneshot(request).await.unwrap();
        let found = response.headers().get("grpc-status");
        assert_eq!(found.map(|value| value.to_str().unwrap()), status);
    }
}

/// JW-09
#[tokio::test]
async fn the_caller_learns_only_that_the_token_is_invalid_and_the_operator_why() {
    let good = token(&with(json!({ "aud": "orders" })));
    let of = |members| token(&with(members));
    let (message, _) = good.rsplit_once('.').unwrap();
    let unsigned = format!(
        "{}.{}.",
        encode(r#"{"alg":"none"}"#),
        encode(claims().to_string())
    );
    let causes_of = [
        (of(json!({ "aud": "orders", "exp": NOW })), "expired"),
        (
            of(json!({ "aud": "orders", "nbf": NOW + 1 })),
            "not_yet_valid",
        ),
        (of(json!({ "aud": "billing" })), "wrong_audience"),
        (of(json!({ "aud": "orders", "exp": "1" })), "bad_claim"),
        (format!("{message}.{}", encode([0; 32])), "bad_signature"),
        (unsigned, "unexpected_algorithm"),
        ("a.b".to_owned(), "malformed"),
        (
            signed(SECRET, r#"{"alg":"HS256","crit":[]}"#, "{}"),
            "unsupported_extension",
        ),
        (
            signed(SECRET, r#"{"alg":"HS256","typ":"x"}"#, "{}"),
            "unexpected_type",
        ),
    ];
    let mut responses = Vec::new();
    for (token, cause) in causes_of {
        let (layer, causes) = layer();
        let (status, response) = send(layer, Some(&format!("Bearer {token}"))).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let causes = causes.lock().unwrap();
        assert!(
            causes.len() == 1 && causes[0].contains(cause),
            "{cause}: {causes:?}"
        );
        for part in token.split('.').filter(|part| part.len() > 3) {
            assert!(!causes[0].contains(part) && !response.contains(part));
        }
        responses.push(response);
    }
    assert!(
        responses[0].contains(r#"error=\"invalid_token\""#),
        "{}",
        responses[0]
    );
    responses.dedup();
    assert_eq!(responses.len(), 1, "{responses:?}");
}

#[tokio::test]
async fn permissions_read_the_scopes_and_roles_of_the_token() {
    let permissions = || {
        let any = OperationSet::prefix("");
        Permissions::new().role(any, "clerk")
    };
    let clerk = token(&with(json!({ "aud": "orders", "roles": ["clerk"] })));
    let guest = token(&with(json!({ "aud": "orders", "roles": ["guest"] })));
    for (token, expected) in [(clerk, StatusCode::OK), (guest, StatusCode::FORBIDDEN)] {
        let layer = layer().0.authorize(permissions());
        let (status, _) = send(layer, Some(&format!("Bearer {token}"))).await;
        assert_eq!(status, expected);
    }
}
