//! What a policy allows.

use super::*;

/// GK-CB-1
#[tokio::test]
async fn a_policy_file_decides_by_patterns() {
    let model = model("r.sub == p.sub && keyMatch(r.obj, p.obj) && regexMatch(r.act, p.act)");
    let folder = Folder::new();
    let policy = "p, alice, /alice_data/*, GET\np, alice, /alice_data/resource1, POST\n";
    let policy = CasbinPolicy::open(
        folder.write("model.conf", &model),
        folder.write("policy.csv", policy),
    );
    let policy = policy.unwrap();
    let layer = layer(
        CasbinAuthorizer::new(policy.clone(), |call| call.path(), |call| call.method()).unwrap(),
    );
    for (path, method, expected) in [
        ("/alice_data/resource1", "GET", StatusCode::OK),
        ("/alice_data/resource1", "POST", StatusCode::OK),
        ("/alice_data/resource2", "POST", StatusCode::FORBIDDEN),
        ("/bob_data/resource1", "GET", StatusCode::FORBIDDEN),
    ] {
        let status = send(&layer, "alice", method, path).await;
        assert_eq!(status, expected, "{method} {path}");
    }
    // A handler that holds a clone asks the same enforcer.
    assert!(
        policy
            .enforce(&["alice", "/alice_data/resource1", "GET"])
            .is_ok()
    );
}

/// GK-CB-2
#[test]
fn model_and_policy_files_decide() {
    let folder = Folder::new();
    let policy = CasbinPolicy::open(
        folder.write(
            "model.conf",
            &model("r.sub == p.sub && r.obj == p.obj && r.act == p.act"),
        ),
        folder.write(
            "policy.csv",
            "p, alice, data1, read\np, bob, data2, write\n",
        ),
    );
    let policy = policy.unwrap();
    assert!(policy.enforce(&["alice", "data1", "read"]).is_ok());
    assert!(policy.enforce(&["alice", "data2", "write"]).is_err());
}

#[test]
fn roles_are_inherited() {
    let policy = "p, admin, data, write\ng, alice, lead\ng, lead, admin\n";
    let policy = CasbinPolicy::parse(ROLES, policy).unwrap();
    assert!(policy.enforce(&["alice", "data", "write"]).is_ok());
    assert!(policy.enforce(&["bob", "data", "write"]).is_err());
}

#[test]
fn an_empty_policy_denies() {
    let policy = CasbinPolicy::parse(ROLES, "").unwrap();
    let error = policy.enforce(&["alice", "data", "write"]).unwrap_err();
    assert_eq!(error, AuthError::forbidden(error.cause().to_owned()));
}

#[test]
fn functions_compare_text_that_is_not_ascii() {
    let decide = |matcher: &str, object: &str, pattern: &str| {
        let policy = format!("p, ann, \"{pattern}\", GET");
        let policy = CasbinPolicy::parse(&model(matcher), &policy).unwrap();
        policy.enforce(&["ann", object, "GET"]).is_ok()
    };
    for (matcher, object, pattern, expected) in [
        ("keyMatch(r.obj, p.obj)", "/é", "/*", true),
        ("keyMatch(r.obj, p.obj)", "/é", "/e*", false),
        ("keyMatch(r.obj, p.obj)", "é", "x*", false),
        ("keyMatch2(r.obj, p.obj)", "/é/x", "/:id/x", true),
        ("keyMatch3(r.obj, p.obj)", "/é/x", "/{id}/x", true),
        ("keyMatch4(r.obj, p.obj)", "/é/é", "/{id}/{id}", true),
        ("keyMatch4(r.obj, p.obj)", "/é/e", "/{id}/{id}", false),
        ("keyMatch5(r.obj, p.obj)", "/é?x=1", "/{id}", true),
        ("keyGet(r.obj, p.obj) == 'é'", "/x/é", "/x/*", true),
        ("keyGet2(r.obj, p.obj, 'id') == 'é'", "/x/é", "/x/:id", true),
        (
            "keyGet3(r.obj, p.obj, 'id') == 'é'",
            "/x/é_y",
            "/x/{id}_y",
            true,
        ),
        ("regexMatch(r.obj, p.obj)", "/é", "^/.$", true),
    ] {
        let matcher = matcher.replace('\'', "\"");
        assert_eq!(
            decide(&matcher, object, pattern),
            expected,
            "{matcher} {object} {pattern}"
        );
    }
}

#[test]
fn a_pattern_may_be_computed() {
    let policy = CasbinPolicy::parse(
        &model(r#"regexMatch(r.obj, "^" + p.obj + "$")"#),
        "p, any, /a+, any",
    );
    let policy = policy.unwrap();
    assert!(policy.enforce(&["ann", "/aa", "GET"]).is_ok());
    assert!(policy.enforce(&["ann", "/ab", "GET"]).is_err());
}

#[test]
fn texts_of_a_matcher_may_be_in_single_quotes() {
    let policy = CasbinPolicy::parse(&model("r.sub != 'a' && r.obj == 'data'"), "").unwrap();
    assert!(policy.enforce(&["b", "data", "read"]).is_ok());
    assert!(policy.enforce(&["a", "data", "read"]).is_err());
}

/// CA-01: also if the file has another order.
#[test]
fn the_rule_of_the_highest_priority_decides() {
    let model = "[request_definition]\nr = sub, obj\n[policy_definition]\np = priority, sub, obj, eft\n\
                 [policy_effect]\ne = priority(p.eft) || deny\n[matchers]\nm = r.sub == p.sub && r.obj == p.obj\n";
    let rules = "p, 10, ann, data, allow\np, 9, ann, data, deny\np, -1, bob, data, allow\np, 2, bob, data, deny\n";
    let policy = CasbinPolicy::parse(model, rules).unwrap();
    assert!(policy.enforce(&["ann", "data"]).is_err());
    assert!(policy.enforce(&["bob", "data"]).is_ok());
    let error = CasbinPolicy::parse(model, "p, high, ann, data, allow").unwrap_err();
    assert!(
        error
            .to_string()
            .contains(r#"a number for the priority "high""#),
        "{error}"
    );
}
