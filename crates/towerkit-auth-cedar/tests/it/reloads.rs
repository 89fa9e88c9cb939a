//! A change of the policy while it decides.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use towerkit_auth::Authorizer;
use towerkit_core::{Call, Plain};

use super::*;

const POLICIES: [&str; 2] = [
    "permit(principal, action, resource);\nforbid(principal == User::\"bob\", action, resource);\n",
    "permit(principal == User::\"alice\", action, resource);\n",
];

fn allows(authorizer: &CedarAuthorizer, subject: &str) -> bool {
    let (mut request, protocol): (_, Plain) = ((), Plain::default());
    let call = Call::new(&mut request, &protocol);
    let caller = Principal::new(subject, Proof::BearerToken);
    authorizer.authorize(&caller, call.view()).is_ok()
}

fn open(folder: &Folder) -> (CedarPolicy, CedarAuthorizer) {
    let policy = CedarPolicy::open(folder.write("policy.cedar", POLICIES[0])).unwrap();
    let authorizer = CedarAuthorizer::new(policy.clone(), |_| Some("read"), |_| Some("data"));
    (policy, authorizer)
}

/// CA-03: each policy allows Alice and denies Bob; half of the first would allow him.
#[test]
fn each_decision_is_that_of_one_whole_policy() {
    let folder = Folder::new();
    let (policy, authorizer) = open(&folder);
    let (done, decisions) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(allows(&authorizer, "alice"));
                    assert!(!allows(&authorizer, "bob"));
                    decisions.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let changed = thread::scope(|changes| {
            changes
                .spawn(|| {
                    for change in 0..50 {
                        folder.write("policy.cedar", POLICIES[change % 2]);
                        policy.reload().unwrap();
                    }
                    while decisions.load(Ordering::Relaxed) < 200 {
                        policy.replace(POLICIES[1]).unwrap();
                        policy.replace(POLICIES[0]).unwrap();
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
    let (policy, authorizer) = open(&folder);
    let still_decides = || assert!(allows(&authorizer, "alice") && !allows(&authorizer, "bob"));
    for invalid in [
        "permit(principal, action, resource",
        "permit(principal == ?principal, action, resource);",
    ] {
        folder.write("policy.cedar", invalid);
        policy.reload().unwrap_err();
        still_decides();
        policy.replace(invalid).unwrap_err();
        still_decides();
    }
    folder.remove("policy.cedar");
    let error = policy.reload().unwrap_err();
    assert!(error.to_string().contains("policy.cedar"), "{error}");
    still_decides();

    folder.write(
        "policy.cedar",
        "permit(principal == User::\"bob\", action, resource);",
    );
    policy.reload().unwrap();
    assert!(!allows(&authorizer, "alice") && allows(&authorizer, "bob"));
}

#[tokio::test]
async fn a_change_is_seen_by_all_clones_and_by_the_layer() {
    let policy = CedarPolicy::parse(POLICIES[1]).unwrap();
    let authorizer = CedarAuthorizer::new(policy.clone(), |call| call.method(), |call| call.path());
    let layer = layer(authorizer);
    assert_eq!(send(&layer, "alice", "GET", "/").await, StatusCode::OK);
    policy.reload().unwrap();
    assert_eq!(send(&layer, "alice", "GET", "/").await, StatusCode::OK);
    policy
        .replace("permit(principal == User::\"bob\", action, resource);")
        .unwrap();
    assert_eq!(
        send(&layer, "alice", "GET", "/").await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(send(&layer, "bob", "GET", "/").await, StatusCode::OK);
}
