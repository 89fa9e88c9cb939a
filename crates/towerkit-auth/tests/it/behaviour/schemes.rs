//! Several schemes in one layer, and how their credentials are read.

use towerkit_auth::{ApiKeyAuth, ApiKeys};

use super::*;

/// The digest of `bar`.
const BAR: &str = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9";

fn keys() -> ApiKeys {
    ApiKeys::parse(&format!(
        "# rotation\nbilling:{FOO}:orders:read orders:list\n\nbilling:{BAR}\n"
    ))
    .unwrap()
}

fn both() -> AuthLayer {
    tokens().or(ApiKeyAuth::header("shop", "x-api-key", keys()).unwrap())
}

#[tokio::test]
async fn the_challenges_of_all_schemes_are_one_header() {
    let answer = send(&both(), get("/", &[])).await;
    assert_eq!(
        answer.challenges,
        [r#"Bearer realm="shop", ApiKey realm="shop""#]
    );
    let answer = send(&both(), bearer("bad")).await;
    assert_eq!(
        answer.challenges,
        [r#"Bearer realm="shop", error="invalid_token", ApiKey realm="shop""#]
    );
    let answer = send(&both(), get("/", &[("x-api-key", "bad")])).await;
    assert_eq!(
        answer.challenges,
        [r#"Bearer realm="shop", ApiKey realm="shop""#]
    );
}

#[tokio::test]
async fn the_first_scheme_with_credentials_decides() {
    let status =
        async |headers: &[(&str, &str)]| send(&both(), get("/", headers)).await.status.as_u16();
    assert_eq!(status(&[("x-api-key", "foo")]).await, 200);
    assert_eq!(
        status(&[("authorization", "Bearer good"), ("x-api-key", "bad")]).await,
        200
    );
    assert_eq!(
        status(&[("authorization", "Bearer bad"), ("x-api-key", "foo")]).await,
        401
    );
    // Credentials of a scheme that the layer does not have.
    assert_eq!(
        status(&[("authorization", "Negotiate abc"), ("x-api-key", "foo")]).await,
        200
    );
    assert_eq!(
        status(&[("authorization", "Bearerx good"), ("x-api-key", "foo")]).await,
        200
    );
}

/// AB-02
#[tokio::test]
async fn two_authorization_headers_are_rejected_with_one_challenge() {
    for other in ["Bearer good", "Basic YTpi", ""] {
        let headers = [("authorization", "Bearer good"), ("authorization", other)];
        let answer = send(&tokens(), get("/", &headers)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.challenges.len(), 1);
    }
}

#[tokio::test]
async fn a_client_has_two_keys_in_the_header_or_the_query() {
    let header = AuthLayer::new(ApiKeyAuth::header("shop", "x-api-key", keys()).unwrap());
    let query = AuthLayer::new(ApiKeyAuth::query("shop", "key", keys()).unwrap());
    for key in ["foo", "bar"] {
        assert_eq!(
            send(&header, get("/", &[("x-api-key", key)])).await.body,
            "billing"
        );
        assert_eq!(
            send(&query, get(&format!("/?a=b&key={key}"), &[]))
                .await
                .body,
            "billing"
        );
    }
    assert_eq!(
        send(&query, get("/?k%65y=%66oo", &[])).await.body,
        "billing"
    );
    for path in [
        "/?key=foo&key=foo",
        "/?key=",
        "/?key",
        "/?key=fo",
        "/?key=fooo",
    ] {
        assert_eq!(
            send(&query, get(path, &[])).await.status,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
    }
    let twice = [("x-api-key", "foo"), ("x-api-key", "foo")];
    assert_eq!(
        send(&header, get("/", &twice)).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn the_scopes_of_a_key_are_those_of_its_line() {
    let needs = Permissions::new().scopes(OperationSet::exact("/"), "orders:read");
    let layer =
        AuthLayer::new(ApiKeyAuth::header("shop", "x-api-key", keys()).unwrap()).authorize(needs);
    assert_eq!(
        send(&layer, get("/", &[("x-api-key", "foo")])).await.status,
        StatusCode::OK
    );
    let answer = send(&layer, get("/", &[("x-api-key", "bar")])).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.challenges.is_empty());
}

#[test]
fn a_broken_file_of_keys_is_an_error_that_names_the_line_and_no_key() {
    for (text, line) in [
        ("billing", 1),
        ("billing:secret", 1),
        (&format!("a:{FOO}\n:{BAR}"), 2),
        (&format!("a:{FOO}x"), 1),
        (&format!("a:{FOO}\nb:{BAR}\nc:{FOO}"), 3),
        (&format!("a:{FOO}\na:{BAR}\na:{}", FOO.replace('2', "3")), 3),
        (&format!("a:{}", FOO.replace('2', "é")), 1),
    ] {
        let error = ApiKeys::parse(text).unwrap_err();
        assert_eq!(error.value(), format!("\"line {line}\""), "{text}");
        assert!(!error.to_string().contains("secret"));
    }
    assert!(ApiKeys::open("/nonexistent/keys").is_err());
}

#[test]
fn a_generated_key_is_found_by_its_digest() {
    let (key, digest) = ApiKeys::generate().unwrap();
    let keys = ApiKeys::parse(&format!("new:{digest}")).unwrap();
    assert_eq!(keys.find(key.as_bytes()).unwrap().subject(), "new");
    assert!(keys.find(digest.as_bytes()).is_none());
    assert_ne!(ApiKeys::generate().unwrap().0, key);
}

#[tokio::test]
async fn keys_are_reloaded_and_stay_if_the_new_file_is_broken() {
    let path = std::env::temp_dir().join(format!("towerkit-auth-keys-{}", std::process::id()));
    std::fs::write(&path, format!("a:{FOO}")).unwrap();
    let keys = ApiKeys::open(&path).unwrap();
    let layer = AuthLayer::new(ApiKeyAuth::header("shop", "x-api-key", keys.clone()).unwrap());
    let status = async |key| {
        send(&layer, get("/", &[("x-api-key", key)]))
            .await
            .status
            .as_u16()
    };
    assert_eq!((status("foo").await, status("bar").await), (200, 401));
    std::fs::write(&path, "broken").unwrap();
    assert!(keys.reload().is_err());
    assert_eq!((status("foo").await, status("bar").await), (200, 401));
    std::fs::write(&path, format!("a:{BAR}")).unwrap();
    keys.reload().unwrap();
    assert_eq!((status("foo").await, status("bar").await), (401, 200));
    std::fs::remove_file(&path).unwrap();
    assert!(keys.reload().is_err());
}

/// AB-03
#[test]
fn a_realm_is_escaped_or_refused() {
    let realm = |realm| {
        BearerAuth::new(realm, Tokens).map(|auth| auth.challenge().unwrap().as_str().to_owned())
    };
    assert_eq!(
        realm(r#"the "\shop""#).unwrap(),
        r#"Bearer realm="the \"\\shop\"""#
    );
    for bad in ["a\r\nSet-Cookie: b", "a\nb", "\0", "é", "a\tb", "\u{7f}"] {
        assert!(realm(bad).is_err(), "{bad:?}");
    }
    assert!(Challenge::new("Ba sic", "a").is_err());
    assert!(Challenge::new("", "a").is_err());
    assert!(
        Challenge::new("Basic", "a")
            .unwrap()
            .param("a=", "b")
            .is_err()
    );
}
