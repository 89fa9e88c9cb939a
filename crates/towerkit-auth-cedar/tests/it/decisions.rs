//! What a policy allows.

use towerkit_auth::Authorizer;
use towerkit_core::{Call, Plain};

use super::*;

#[tokio::test]
async fn roles_scopes_actions_and_resources_decide() {
    let layer = layer(authorizer(
        r#"
        permit(principal in Role::"clerk", action == Action::"GET", resource)
        when { resource.id like "/orders/*" };

        permit(principal == User::"ann", action in [Action::"GET", Action::"PUT"], resource == Resource::"/profile");

        permit(principal, action, resource)
        when { principal.scopes.contains("all") && principal.proof == "bearer_token" && !(principal has issuer) };

        forbid(principal in Role::"guest", action, resource)
        when { resource.id like "*/secret" };
        "#,
    ));
    for (token, method, path, expected) in [
        ("bob+clerk", "GET", "/orders/7", StatusCode::OK),
        ("bob+other+clerk", "GET", "/orders/7", StatusCode::OK),
        ("bob+clerk", "PUT", "/orders/7", StatusCode::FORBIDDEN),
        ("bob+clerk", "GET", "/users/7", StatusCode::FORBIDDEN),
        ("clerk", "GET", "/orders/7", StatusCode::FORBIDDEN),
        ("ann", "PUT", "/profile", StatusCode::OK),
        ("ann", "DELETE", "/profile", StatusCode::FORBIDDEN),
        ("bob", "PUT", "/profile", StatusCode::FORBIDDEN),
        ("bob~all", "PUT", "/x", StatusCode::OK),
        ("bob~al", "PUT", "/x", StatusCode::FORBIDDEN),
        ("bob+guest~all", "PUT", "/x", StatusCode::OK),
        ("bob+guest~all", "PUT", "/x/secret", StatusCode::FORBIDDEN),
    ] {
        let status = send(&layer, token, method, path).await;
        assert_eq!(status, expected, "{token} {method} {path}");
    }
}

#[test]
fn a_subject_belongs_to_its_issuer() {
    let policy = r#"permit(principal, action, resource)
        when { principal has issuer && principal.issuer == "https://id.example" };"#;
    let policy = CedarPolicy::parse(policy).unwrap();
    let authorizer = CedarAuthorizer::new(policy, |_| Some("read"), |_| Some("data"));
    let (mut request, protocol): (_, Plain) = ((), Plain::default());
    let call = Call::new(&mut request, &protocol);
    let ann = Principal::new("ann", Proof::BearerToken);
    assert!(authorizer.authorize(&ann, call.view()).is_err());
    let other = ann.clone().with_issuer("https://other.example");
    assert!(authorizer.authorize(&other, call.view()).is_err());
    let ann = ann.with_issuer("https://id.example");
    assert!(authorizer.authorize(&ann, call.view()).is_ok());
}

#[tokio::test]
async fn an_empty_policy_denies() {
    let layer = layer(authorizer(""));
    assert_eq!(send(&layer, "ann", "GET", "/").await, StatusCode::FORBIDDEN);
}

/// Ids are data: quotes in them end nothing.
#[test]
fn ids_are_not_parsed() {
    let policy = r#"permit(principal == User::"ann", action, resource);"#;
    let policy = CedarPolicy::parse(policy).unwrap();
    let authorizer = CedarAuthorizer::new(policy, |_| Some("read"), |_| Some("a\"::\\é\0*"));
    let (mut request, protocol): (_, Plain) = ((), Plain::default());
    let call = Call::new(&mut request, &protocol);
    for (subject, expected) in [
        ("ann", true),
        ("ann\" || \"", false),
        ("User::\"ann\"", false),
        ("", false),
    ] {
        let caller = Principal::new(subject, Proof::BearerToken);
        let decision = authorizer.authorize(&caller, call.view());
        assert_eq!(decision.is_ok(), expected, "{subject}");
    }
}
