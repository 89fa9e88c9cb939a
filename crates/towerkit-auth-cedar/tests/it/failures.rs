//! No error admits a call.

use std::sync::{Arc, Mutex};

use towerkit_core::Event;

use super::*;

/// CA-02: Cedar leaves out the `forbid` that fails, and would allow the call.
#[tokio::test]
async fn a_policy_that_fails_denies() {
    for fails in [
        "principal.unknown == 1",
        "resource.id > 1",
        "principal.scopes like \"x\"",
        "9223372036854775807 + 1 > 0",
    ] {
        let policy = format!(
            "permit(principal, action, resource); \
             forbid(principal == User::\"mallory\", action, resource) when {{ {fails} }};"
        );
        let layer = layer(authorizer(&policy));
        assert_eq!(send(&layer, "ann", "GET", "/").await, StatusCode::OK);
        let status = send(&layer, "mallory", "GET", "/").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{fails}");
        assert_eq!(layer.handle().snapshot().undecided, 1);
    }
}

/// CA-02
#[tokio::test]
async fn a_call_without_an_action_or_a_resource_is_denied() {
    let policy = || CedarPolicy::parse("permit(principal, action, resource);").unwrap();
    for (authorizer, expected) in [
        (
            CedarAuthorizer::new(policy(), |_| Some("x"), |_| Some("y")),
            StatusCode::OK,
        ),
        (
            CedarAuthorizer::new(policy(), |_| None, |_| Some("y")),
            StatusCode::FORBIDDEN,
        ),
        (
            CedarAuthorizer::new(policy(), |_| Some("x"), |_| None),
            StatusCode::FORBIDDEN,
        ),
    ] {
        assert_eq!(send(&layer(authorizer), "ann", "GET", "/").await, expected);
    }
}

/// CA-02
#[tokio::test]
async fn a_panic_denies() {
    let policy = CedarPolicy::parse("permit(principal, action, resource);").unwrap();
    let panics = CedarAuthorizer::new(
        policy,
        |call| call.method(),
        |call| match call.path() {
            Some("/panic") => panic!("resource"),
            path => path,
        },
    );
    let layer = layer(panics);
    assert_eq!(
        send(&layer, "ann", "GET", "/panic").await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(send(&layer, "ann", "GET", "/").await, StatusCode::OK);
}

/// CA-05: the policy would allow all of them.
#[tokio::test]
async fn an_id_that_is_too_long_never_reaches_the_policy() {
    let layer = layer(authorizer(
        r#"permit(principal, action, resource) when { resource.id like "*a*a*a*" || true };"#,
    ));
    let id = |length: usize| format!("/{}", "a".repeat(length - 1));
    let fits = id(CedarAuthorizer::MAX_ID);
    assert_eq!(send(&layer, "ann", "GET", &fits).await, StatusCode::OK);
    assert_eq!(send(&layer, &fits, "GET", "/").await, StatusCode::OK);
    for length in [CedarAuthorizer::MAX_ID + 1, 8000] {
        let long = id(length);
        assert_eq!(
            send(&layer, "ann", "GET", &long).await,
            StatusCode::FORBIDDEN
        );
        assert_eq!(send(&layer, &long, "GET", "/").await, StatusCode::FORBIDDEN);
    }
}

/// CA-02
#[test]
fn a_file_that_is_missing_is_an_error_at_the_start() {
    let error = CedarPolicy::open(Folder::new().path("none.cedar")).unwrap_err();
    assert!(error.to_string().contains("none.cedar"), "{error}");
}

#[test]
fn an_invalid_policy_is_an_error_that_names_the_line() {
    for (policy, expected) in [
        (
            "permit(principal, action, resource)",
            "unexpected end of input",
        ),
        ("// x\n\npermit(principal, acton, resource);", "line 3: "),
        (
            "permit(principal, action, resource) when { unknown(1) };",
            "line 1: ",
        ),
        (
            "permit(principal == ?principal, action, resource);",
            "is a template",
        ),
        ("allow(principal, action, resource);", "line 1: "),
        ("\0", "line 1: "),
    ] {
        let error = CedarPolicy::parse(policy).unwrap_err().to_string();
        assert!(error.contains(expected), "{policy}: {error}");
        let end = ": expected static policies in the syntax of Cedar";
        assert!(
            error.starts_with("invalid cedar policy ") && error.ends_with(end),
            "{error}"
        );
    }
}

/// Without a limit the parser overflows the stack, which ends the process.
#[test]
fn a_policy_that_nests_too_deep_is_an_error() {
    let policy = |condition: &str| {
        CedarPolicy::parse(&format!(
            "permit(principal, action, resource)\nwhen {{ {condition} }};"
        ))
    };
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{a: ", "}"),
        ("if true then true else ", ""),
    ] {
        let nested = |depth: usize| format!("{}true{}", open.repeat(depth), close.repeat(depth));
        policy(&nested(31)).unwrap();
        for depth in [32, 100_000] {
            let error = policy(&nested(depth)).unwrap_err().to_string();
            assert!(error.contains("line 2: brackets or `if` nested"), "{error}");
        }
    }
    for (first, link) in [
        ("1", " + 1"),
        ("1", " - 1"),
        ("1", " * 1"),
        ("principal", ".a"),
        ("principal", r#"["a"]"#),
    ] {
        let chain = |links: usize| format!("{first}{} == 1", link.repeat(links));
        policy(&chain(2000)).unwrap();
        for links in [2001, 100_000] {
            let error = policy(&chain(links)).unwrap_err().to_string();
            assert!(
                error.contains("line 2: more than 2000 operators"),
                "{error}"
            );
        }
    }
    let flat =
        r#""((((\"((((((((((((((((((((((((((((((((" != "x" // (((((((((((((((((((((((((((((((((("#;
    policy(&format!("{flat}\n")).unwrap();
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
    let policy =
        r#"permit(principal == User::"ann", action, resource) when { principal.unknown };"#;
    let layer = layer(authorizer(policy)).events(sink);
    send(&layer, "ann", "GET", "/").await;
    send(&layer, "bob", "GET", "/").await;
    let events = causes.lock().unwrap().clone();
    assert!(
        events[0].starts_with("undecided: ") && events[0].contains("unknown"),
        "{events:?}"
    );
    assert_eq!(events[1], "forbidden: the policy denies the request");
}
