//! A change of the policy while it decides.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use super::*;

const RULES: [&str; 2] = [
    "p, admin, data, write\ng, alice, admin\ng, bob, root\n",
    "p, root, data, write\ng, alice, root\ng, bob, admin\n",
];

/// CA-03: each policy allows Alice and denies Bob; rules of one with roles of the other would do the opposite.
#[test]
fn each_decision_is_that_of_one_whole_policy() {
    let folder = Folder::new();
    let model = folder.write("model.conf", ROLES);
    let policy = CasbinPolicy::open(model, folder.write("policy.csv", RULES[0])).unwrap();
    let (done, decisions) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(policy.enforce(&["alice", "data", "write"]).is_ok());
                    assert!(policy.enforce(&["bob", "data", "write"]).is_err());
                    decisions.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let changed = thread::scope(|changes| {
            changes
                .spawn(|| {
                    for change in 0..50 {
                        folder.write("policy.csv", RULES[change % 2]);
                        policy.reload().unwrap();
                    }
                    while decisions.load(Ordering::Relaxed) < 200 {
                        policy.replace(ROLES, RULES[1]).unwrap();
                        policy.replace(ROLES, RULES[0]).unwrap();
                    }
                })
                .join()
        });
        // Set also if a change has failed, or the threads would not end.
        done.store(true, Ordering::Relaxed);
        changed.unwrap();
    });
}

/// CA-02
#[test]
fn a_policy_that_cannot_be_read_is_not_taken() {
    let folder = Folder::new();
    let model = folder.write("model.conf", ROLES);
    let policy = CasbinPolicy::open(&model, folder.write("policy.csv", RULES[0])).unwrap();
    let still_decides = || {
        assert!(policy.enforce(&["alice", "data", "write"]).is_ok());
        assert!(policy.enforce(&["bob", "data", "write"]).is_err());
    };
    for invalid in [
        "p, bob, data, write\nx",
        "p, bob, data",
        "p, bob, \"data, write",
    ] {
        folder.write("policy.csv", invalid);
        policy.reload().unwrap_err();
        still_decides();
        policy.replace(ROLES, invalid).unwrap_err();
        still_decides();
    }
    folder.remove("policy.csv");
    let error = policy.reload().unwrap_err();
    assert!(error.to_string().contains("policy.csv"), "{error}");
    still_decides();

    folder.write("policy.csv", RULES[1]);
    folder.write(
        "model.conf",
        &ROLES.replace("r = sub, obj, act", "r = sub, obj"),
    );
    policy.reload().unwrap_err();
    still_decides();

    folder.write("model.conf", ROLES);
    folder.write("policy.csv", "p, carol, data, write");
    policy.reload().unwrap();
    assert!(policy.enforce(&["alice", "data", "write"]).is_err());
    assert!(policy.enforce(&["carol", "data", "write"]).is_ok());
}

#[test]
fn a_new_model_has_the_same_number_of_elements() {
    let policy = CasbinPolicy::parse(ROLES, RULES[0]).unwrap();
    let model = ROLES.replace("r = sub, obj, act", "r = sub, dom, obj, act");
    let error = policy.replace(&model, RULES[0]).unwrap_err();
    let expected = "invalid number of request elements 4: expected 3, as in the model before";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_change_is_seen_by_all_clones_and_by_the_layer() {
    let policy = CasbinPolicy::parse(&model("r.sub == p.sub"), "p, alice, any, any").unwrap();
    let authorizer =
        CasbinAuthorizer::new(policy.clone(), |call| call.path(), |call| call.method());
    let layer = layer(authorizer.unwrap());
    assert_eq!(send(&layer, "alice", "GET", "/").await, StatusCode::OK);
    policy.reload().unwrap();
    assert_eq!(send(&layer, "alice", "GET", "/").await, StatusCode::OK);
    policy
        .replace(&model("r.sub == p.sub"), "p, bob, any, any")
        .unwrap();
    assert_eq!(
        send(&layer, "alice", "GET", "/").await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(send(&layer, "bob", "GET", "/").await, StatusCode::OK);
}
