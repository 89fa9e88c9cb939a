//! No error admits a call.

use std::sync::{Arc, Mutex};

use towerkit_core::Event;

use super::*;

/// CA-02
#[tokio::test]
async fn a_matcher_that_fails_denies() {
    let matcher = r#"r.sub == p.sub || (r.sub == "mallory" && unknown(r.obj))"#;
    let layer = layer(authorizer(&model(matcher), "p, alice, any, any"));
    assert_eq!(send(&layer, "alice", "GET", "/").await, StatusCode::OK);
    assert_eq!(send(&layer, "bob", "GET", "/").await, StatusCode::FORBIDDEN);
    assert_eq!(
        send(&layer, "mallory", "GET", "/").await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(layer.handle().snapshot().undecided, 1);
    assert_eq!(send(&layer, "alice", "GET", "/").await, StatusCode::OK);
}

/// CA-02: also if a later rule would allow the request, and if the matcher negates the result.
#[test]
fn a_pattern_that_does_not_compile_denies() {
    for matcher in [
        r#"regexMatch(r.obj, "(" + r.act) || r.sub == p.sub"#,
        r#"!regexMatch(r.obj, "(" + r.act)"#,
        r#"regexMatch(r.obj, "(" + r.act) != true"#,
    ] {
        let policy = CasbinPolicy::parse(&model(matcher), "");
        let policy = policy.unwrap_or_else(|error| panic!("{matcher}: {error}"));
        let valid = policy.enforce(&["ann", "x", "y)"]);
        assert!(valid.is_ok() != valid.as_ref().is_err_and(|e| e.cause().contains("denies")));
        let error = policy.enforce(&["ann", "x", "y"]).unwrap_err();
        assert_eq!(
            error,
            AuthError::unavailable(error.cause().to_owned()),
            "{matcher}"
        );
    }
}

/// CA-02
#[tokio::test]
async fn a_call_without_an_object_or_an_action_is_denied() {
    let open = model("true");
    let policy = || CasbinPolicy::parse(&open, "p, any, any, any").unwrap();
    for (authorizer, expected) in [
        (
            CasbinAuthorizer::new(policy(), |_| Some("x"), |_| Some("y")),
            StatusCode::OK,
        ),
        (
            CasbinAuthorizer::new(policy(), |_| None, |_| Some("y")),
            StatusCode::FORBIDDEN,
        ),
        (
            CasbinAuthorizer::new(policy(), |_| Some("x"), |_| None),
            StatusCode::FORBIDDEN,
        ),
    ] {
        let layer = layer(authorizer.unwrap());
        assert_eq!(send(&layer, "ann", "GET", "/").await, expected);
    }
    for request in [&["ann", "x"][..], &["ann", "x", "y", "z"], &[]] {
        assert!(policy().enforce(request).is_err(), "{request:?}");
    }
}

/// CA-02
#[tokio::test]
async fn a_panic_denies() {
    let policy = CasbinPolicy::parse(&model("true"), "").unwrap();
    let panics = CasbinAuthorizer::new(
        policy,
        |call| match call.path() {
            Some("/panic") => panic!("object"),
            path => path,
        },
        |call| call.method(),
    );
    let layer = layer(panics.unwrap());
    assert_eq!(
        send(&layer, "ann", "GET", "/panic").await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(send(&layer, "ann", "GET", "/").await, StatusCode::OK);
}

/// CA-05: the matcher would allow all of them.
#[tokio::test]
async fn an_element_that_is_too_long_never_reaches_the_matcher() {
    let policy = CasbinPolicy::parse(&model("regexMatch(r.obj, p.obj)"), "p, any, (.*)*x?, any");
    let policy = policy.unwrap();
    let fits = "x".repeat(CasbinPolicy::MAX_ARGUMENT);
    assert!(policy.enforce(&[&fits, &fits, &fits]).is_ok());
    for length in [CasbinPolicy::MAX_ARGUMENT + 1, 100 << 10, 10 << 20] {
        let long = "x".repeat(length);
        for request in [[&*long, "x", "x"], ["x", &long, "x"], ["x", "x", &long]] {
            let error = policy.enforce(&request).unwrap_err();
            assert_eq!(
                error,
                AuthError::forbidden("an element of the request is too long")
            );
        }
    }
}

/// CA-05
#[test]
fn a_text_that_is_too_long_for_a_pattern_denies() {
    let pattern = "/:a".repeat(90);
    let policy = CasbinPolicy::parse(
        &model("keyMatch2(r.obj, p.obj)"),
        &format!("p, x, {pattern}, y"),
    );
    assert!(
        policy
            .unwrap()
            .enforce(&["ann", &"/a".repeat(30), "GET"])
            .is_err()
    );

    let policy = CasbinPolicy::parse(
        &model("!regexMatch(r.obj, p.obj)"),
        "p, any, \"(a{1,30}){40}b\", any",
    );
    let policy = policy.unwrap();
    assert!(policy.enforce(&["ann", &"a".repeat(128), "GET"]).is_ok());
    let error = policy
        .enforce(&["ann", &"a".repeat(256), "GET"])
        .unwrap_err();
    assert_eq!(
        error,
        AuthError::unavailable("the text is too long for the pattern")
    );
}

/// CA-05: a pattern of the policy is refused when it is read, and one of a request when it is compiled.
#[test]
fn a_hostile_pattern_is_refused() {
    for pattern in [r"(\w{50}){50}", "((a{99}){99}){99}", "(", "a**{"] {
        let own = model("regexMatch(r.obj, p.obj)");
        let error = CasbinPolicy::parse(&own, &format!("p, any, \"{pattern}\", any")).unwrap_err();
        assert_eq!(error.setting(), "casbin pattern", "{error}");
        let sent = CasbinPolicy::parse(&model("regexMatch(r.obj, r.act)"), "").unwrap();
        assert!(
            sent.enforce(&["ann", "aaaa", pattern]).is_err(),
            "{pattern}"
        );
    }
}

/// CA-02
#[test]
fn files_that_are_missing_are_an_error_at_the_start() {
    let folder = Folder::new();
    let model = folder.write("model.conf", ROLES);
    let error = CasbinPolicy::open(&model, folder.path("none.csv")).unwrap_err();
    assert!(error.to_string().contains("none.csv"), "{error}");
    let error = CasbinPolicy::open(folder.path("none.conf"), &model).unwrap_err();
    assert!(error.to_string().contains("none.conf"), "{error}");
}

#[test]
fn an_invalid_policy_is_an_error_that_names_the_line() {
    for (policy, expected) in [
        (
            "p, alice, data",
            r#"invalid casbin policy "line 1": expected a rule with 3 fields after p"#,
        ),
        (
            "p, alice, data, read, allow",
            "a rule with 3 fields after p",
        ),
        (
            "\n# x\np, a, b, c\nq, alice",
            r#""line 4": expected a rule of a kind that the model defines"#,
        ),
        ("p2, a, b, c", "a rule of a kind"),
        ("g, alice", "a rule with 2 fields after g"),
        // Casbin ignores the domain, so that the role is held everywhere.
        ("g, alice, admin, acme", "a rule with 2 fields after g"),
        ("r, a, b, c", "a rule of a kind"),
        ("alice", "a rule of a kind"),
        ("é, a", "a rule of a kind"),
        (r#"p, "alice, data, read"#, "comma-separated values"),
    ] {
        let error = CasbinPolicy::parse(ROLES, policy).unwrap_err().to_string();
        assert!(error.contains(expected), "{policy}: {error}");
    }
}

#[test]
fn an_invalid_model_is_an_error() {
    let policy = "p, a, b, c";
    for (change, to) in [
        (
            "some(where (p.eft == allow))",
            "most(where (p.eft == allow))",
        ),
        ("m = g(", "m = g(("),
        ("m = g(", "n = g("),
        ("m = g(", "m = unknown("),
        ("r.act", "r.unknown"),
        ("r.act", "r.act.Age"),
        ("[policy_definition]", "[policy]"),
        ("[request_definition]", "[request]"),
        ("[policy_effect]", "[effect]"),
        ("g = _, _", "g = _"),
        ("g = _, _", "g = _, _, _, _, _"),
        ("r = sub", "r"),
    ] {
        let model = ROLES.replace(change, to);
        assert_ne!(model, ROLES);
        let error = CasbinPolicy::parse(&model, policy);
        assert!(error.is_err(), "{change} -> {to}");
    }
}

#[test]
fn a_model_with_another_number_of_elements_needs_an_authorizer_of_its_own() {
    let model = ROLES.replace("r = sub, obj, act", "r = sub, dom, obj, act");
    let policy = CasbinPolicy::parse(&model, "").unwrap();
    let error = CasbinAuthorizer::new(policy, |_| None, |_| None).unwrap_err();
    let expected =
        "invalid number of request elements 4: expected a subject, an object and an action";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn the_caller_sees_no_cause_and_the_operator_does() {
    let causes = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&causes);
    let sink = move |event: &Event| {
        if let Event::Other { event, message, .. } = event {
            record.lock().unwrap().push(format!("{event}: {message}"));
        }
    };
    let matcher = r#"r.sub == "ann" && unknown(r.obj)"#;
    let layer = layer(authorizer(&model(matcher), "p, a, b, c")).events(sink);
    send(&layer, "ann", "GET", "/").await;
    send(&layer, "bob", "GET", "/").await;
    let events = causes.lock().unwrap().clone();
    assert!(
        events[0].starts_with("undecided: ") && events[0].contains("unknown"),
        "{events:?}"
    );
    assert_eq!(events[1], "forbidden: the policy denies the request");
}
