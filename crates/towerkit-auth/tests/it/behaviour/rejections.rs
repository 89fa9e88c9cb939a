//! The answers to rejected calls, over each protocol.

use std::sync::{Arc, Mutex};

use towerkit_core::{CarriesRejection, ErrorCode, Event, RejectionReason, stack};
use towerkit_endpoint::{IntoRpcError, RpcError, RpcExt, endpoint_fn};
use towerkit_keyed::{ByPrincipal, KeyExtractor};

use super::*;

const BEARER: &str = r#"Bearer realm="shop""#;

#[tokio::test]
async fn a_call_without_credentials_gets_a_challenge_without_an_error() {
    let answer = send(&tokens(), get("/", &[])).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.challenges, [BEARER]);
    assert!(!answer.body.contains("credentials"), "{}", answer.body);
}

/// JW-09
#[tokio::test]
async fn every_invalid_token_gets_the_same_response() {
    let mut answers = Vec::new();
    for token in ["bad", "slow-bad", "a b", "\"", "=", ""] {
        let answer = send(&tokens(), bearer(token)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{token}");
        let expected = r#"Bearer realm="shop", error="invalid_token""#;
        assert_eq!(answer.challenges, [expected], "{token}");
        answers.push(answer.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

#[tokio::test]
async fn valid_tokens_are_admitted_at_once_and_later() {
    for (token, subject) in [("good", "ann"), ("slow", "sid")] {
        let answer = send(&tokens(), bearer(token)).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, subject));
    }
}

#[tokio::test]
async fn a_verifier_that_fails_or_panics_is_no_admission() {
    for token in ["down", "panic", "slow-panic"] {
        let layer = tokens();
        let answer = send(&layer, bearer(token)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{token}");
        assert!(answer.challenges.is_empty());
        assert_eq!(send(&layer, bearer("good")).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_operation_without_a_permission_is_denied_and_a_public_one_is_admitted() {
    let layer = tokens()
        .public(OperationSet::exact("/health"))
        .public(OperationSet::exact("/login"))
        .authorize(
            Permissions::new()
                .scopes(OperationSet::exact("/read"), "read")
                .scopes(OperationSet::exact("/write"), "read write")
                .role(OperationSet::prefix("/admin/"), "admin")
                .authenticated(OperationSet::exact("/profile")),
        );
    let status = async |path: &str, token: Option<&str>| {
        let token = token.map(|token| format!("bearer {token}"));
        let headers: Vec<_> = token
            .iter()
            .map(|token| ("authorization", &**token))
            .collect();
        send(&layer, get(path, &headers)).await.status.as_u16()
    };
    for (path, token, expected) in [
        ("/health", None, 200),
        ("/login", None, 200),
        ("/health", Some("good"), 200),
        ("/health", Some("bad"), 401),
        ("/read", None, 401),
        ("/read", Some("good"), 200),
        ("/read", Some("admin"), 403),
        ("/write", Some("good"), 403),
        ("/admin/users", Some("good"), 403),
        ("/admin/users", Some("admin"), 200),
        ("/profile", Some("slow"), 200),
        ("/profile", None, 401),
        ("/elsewhere", Some("admin"), 403),
        ("/elsewhere", Some("slow"), 403),
        ("/elsewhere", None, 401),
    ] {
        assert_eq!(status(path, token).await, expected, "{path} {token:?}");
    }
    let snapshot = layer.handle().snapshot();
    assert_eq!(
        (snapshot.missing, snapshot.invalid, snapshot.forbidden),
        (3, 1, 5)
    );
}

#[tokio::test]
async fn a_missing_scope_is_named_to_callers_with_bearer_tokens() {
    let needs_write = Permissions::new().scopes(OperationSet::exact("/"), "read write");
    let answer = send(&tokens().authorize(needs_write.clone()), bearer("good")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let expected = r#"Bearer realm="shop", error="insufficient_scope", scope="read write""#;
    assert_eq!(answer.challenges, [expected]);
    // A role is not named.
    let needs_role = Permissions::new().role(OperationSet::exact("/"), "admin");
    let answer = send(&tokens().authorize(needs_role), bearer("good")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.challenges.is_empty());
}

#[tokio::test]
async fn an_authorizer_that_fails_or_panics_denies() {
    let error = |_: &Principal, _: CallView<'_>| Err(AuthError::unavailable("no policy"));
    let panics = |_: &Principal, _: CallView<'_>| -> Result<(), AuthError> { panic!("policy") };
    for layer in [tokens().authorize(error), tokens().authorize(panics)] {
        for token in ["good", "slow"] {
            let answer = send(&layer, bearer(token)).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}

#[tokio::test]
async fn an_authorizer_may_wait_after_an_authentication_that_has_waited() {
    struct Slow;
    impl towerkit_auth::Authorizer for Slow {
        fn authorize(
            &self,
            principal: &Principal,
            _call: CallView<'_>,
        ) -> Result<Admission<(), AuthFuture<()>>, AuthError> {
            let admits = principal.subject() == "sid";
            Ok(Admission::Later(Box::pin(async move {
                tokio::task::yield_now().await;
                if admits {
                    Ok(())
                } else {
                    Err(AuthError::forbidden("not sid"))
                }
            })))
        }
    }
    let layer = tokens().authorize(Slow);
    assert_eq!(send(&layer, bearer("slow")).await.body, "sid");
    assert_eq!(
        send(&layer, bearer("good")).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn grpc_callers_get_unauthenticated_and_permission_denied() {
    let denied = tokens().authorize(Permissions::new());
    for (layer, token, status) in [(tokens(), "bad", "16"), (denied, "good", "7")] {
        let mut request =
            Request::post("/shop.Orders/List").header("content-type", "application/grpc");
        request = request.header("authorization", format!("Bearer {token}"));
        let service = layer.grpc().layer(service_fn(whoami));
        let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], status);
    }
}

#[tokio::test]
async fn endpoints_get_an_error_with_its_code() {
    let endpoint = endpoint_fn((), async |(), (): ()| Ok::<_, RpcError>("done"));
    let request = |token: &str| {
        let mut request = towerkit_endpoint::Request::new("list", ());
        request
            .headers
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    };
    let admitted = tokens()
        .rpc()
        .layer(endpoint)
        .oneshot(request("slow"))
        .await;
    assert_eq!(admitted.unwrap(), "done");
    let error = tokens()
        .rpc()
        .layer(endpoint)
        .oneshot(request("bad"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), &*error.message()),
        (ErrorCode::Unauthenticated, "not authenticated")
    );
    let response = towerkit_transport_http::problem(&error);
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let expected = r#"Bearer realm="shop", error="invalid_token""#;
    assert_eq!(response.headers()["www-authenticate"], expected);
    let object = towerkit_transport_jsonrpc::ErrorObject::from(error);
    assert_eq!(object.code(), -32016);
    let denied = tokens().authorize(Permissions::new()).rpc().layer(endpoint);
    let error = denied.oneshot(request("good")).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::PermissionDenied);
    assert_eq!(
        error.rejection().unwrap().reason(),
        RejectionReason::Forbidden
    );
}

#[tokio::test]
async fn headers_that_claim_a_principal_are_removed() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let names = seen.clone();
    let service = service_fn(move |request: Request<()>| {
        let keys = request.headers().keys().map(ToString::to_string);
        names.lock().unwrap().extend(keys);
        whoami(request)
    });
    let request = || {
        get(
            "/",
            &[
                ("authorization", "Bearer good"),
                ("x-forwarded-user", "root"),
                ("x-forwarded-user", "root"),
                ("X-Remote-User", "root"),
                ("x_remote_user", "root"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-tenant", "acme"),
            ],
        )
    };
    tokens()
        .http()
        .layer(service.clone())
        .oneshot(request())
        .await
        .unwrap();
    let take = || {
        let mut names = std::mem::take(&mut *seen.lock().unwrap());
        names.sort();
        names.join(" ")
    };
    assert_eq!(take(), "authorization x-forwarded-for x-tenant");
    let own = tokens().claim_headers(["X-Tenant"]);
    own.http().layer(service).oneshot(request()).await.unwrap();
    assert_eq!(
        take(),
        "authorization x-forwarded-for x-forwarded-user x-remote-user x_remote_user"
    );
}

#[tokio::test]
async fn a_later_layer_of_the_stack_has_the_principal_as_its_key() {
    use std::time::Duration;
    use towerkit_ratelimit::{KeyedRateLimitLayer, Quota};
    let once = Quota::new(1, Duration::from_secs(3600)).unwrap();
    let layer = stack((tokens(), KeyedRateLimitLayer::new(once, ByPrincipal))).http();
    let service = layer.layer(service_fn(whoami));
    for (token, expected) in [
        ("good", 200),
        ("good", 429),
        ("slow", 200),
        ("slow", 429),
        ("admin", 200),
    ] {
        let response = service.clone().oneshot(bearer(token)).await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{token}");
    }
    let mut anonymous = get("/", &[]);
    let protocol = Http::new();
    let call = towerkit_core::Call::new(&mut anonymous, &protocol);
    assert!(ByPrincipal.with_key(&call, |key| key.is_none()));
}

/// JW-09
#[tokio::test]
async fn events_have_the_cause() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let causes = seen.clone();
    let layer = tokens().name("front").events(move |event: &Event| {
        let Event::Other { event, message, .. } = event else {
            panic!("{event:?}")
        };
        causes.lock().unwrap().push(format!("{event}: {message}"));
    });
    send(&layer, get("/", &[])).await;
    send(&layer, bearer("slow-bad")).await;
    send(&layer, bearer("down")).await;
    send(&layer.authorize(Permissions::new()), bearer("good")).await;
    let expected = [
        "invalid_credentials: expired",
        "undecided: no keys",
        "forbidden: no permission for the operation",
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}
