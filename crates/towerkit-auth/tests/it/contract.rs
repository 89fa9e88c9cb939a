//! The laws that every layer keeps.

use std::{
    task::{Context, Waker},
    time::Duration,
};

use tower::{Layer, ServiceExt};
use towerkit_auth::{
    Admission, ApiKeyAuth, ApiKeys, AuthError, AuthFuture, AuthLayer, Authenticator, BasicAuth,
    Challenge, ClientCertificateAuth, PasswordFile, Permissions, Principal, Proof,
};
use towerkit_core::{CallView, LayerExt, OperationSet};
use towerkit_endpoint::RpcExt;
use towerkit_http::HttpExt;
use towerkit_test::{
    Action, HttpClient, PlainClient, Probe, RpcClient, Subject, contract, laws, run_paused,
};

/// Admits every call, at once or after a wait.
struct Anyone {
    waits: bool,
}

impl Authenticator for Anyone {
    fn authenticate(
        &self,
        _call: CallView<'_>,
    ) -> Result<Admission<Principal, AuthFuture<Principal>>, AuthError> {
        let anyone = Principal::new("anyone", Proof::Other("none"));
        if !self.waits {
            return Ok(Admission::Now(anyone));
        }
        Ok(Admission::Later(Box::pin(async {
            tokio::task::yield_now().await;
            Ok(anyone)
        })))
    }

    fn challenge(&self) -> Option<&Challenge> {
        None
    }
}

fn at_once() -> AuthLayer {
    let permissions = Permissions::new().authenticated(OperationSet::prefix(""));
    AuthLayer::new(Anyone { waits: false }).authorize(permissions)
}

fn later() -> AuthLayer {
    AuthLayer::new(Anyone { waits: true })
}

// A plain service has no place for a principal, which permissions would need.
contract!(
    at_once_plain,
    PlainClient,
    Subject::new(AuthLayer::new(Anyone { waits: false }).plain("probe"))
);
contract!(at_once_rpc, RpcClient, Subject::new(at_once().rpc()));
contract!(at_once_http, HttpClient, Subject::new(at_once().http()));
contract!(at_once_grpc, GrpcClient, Subject::new(at_once().grpc()));

/// T-01, T-04, T-06, T-08 for calls that wait.
#[test]
fn the_laws_hold_for_calls_that_wait() {
    run_paused(async {
        laws::calls_come_after_readiness::<PlainClient, _>(Subject::new(later().plain("probe")))
            .await;
        laws::a_panic_releases_all::<HttpClient, _>(|| Subject::new(later().http())).await;
        laws::calls_that_wait_do_not_spin::<HttpClient, _>(|| Subject::new(later().http())).await;
        laws::errors_pass_unchanged::<RpcClient, _>(|| Subject::new(later().rpc())).await;
    });
}

/// T-03
#[test]
fn a_call_that_waits_may_be_dropped_at_any_time() {
    run_paused(async {
        for polls in 0..=3 {
            let probe = Probe::new();
            let counts = probe.counts();
            let call = later().plain("probe").layer(probe).oneshot(Action::Pend(9));
            let mut call = Box::pin(call);
            for _ in 0..polls {
                let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            drop(call);
            assert_eq!(counts.started(), u64::from(polls >= 2));
            assert_eq!((counts.in_flight(), counts.reserved()), (0, 0));
        }
    });
}

/// T-07
#[test]
fn invalid_settings_are_rejected() {
    let users = || PasswordFile::parse("").unwrap();
    let keys = || ApiKeys::parse("").unwrap();
    let hashing = |threads, waiting| {
        let basic = BasicAuth::new("shop", users()).unwrap();
        basic.hashing(threads, waiting).is_err()
    };
    laws::invalid_settings_are_rejected(&[
        ("realm", &|| BasicAuth::new("a\r\nb", users()).is_err()),
        ("threads 0", &|| hashing(0, 1)),
        ("threads MAX", &|| hashing(usize::MAX, 1)),
        ("waiting 0", &|| hashing(1, 0)),
        ("waiting MAX", &|| hashing(1, usize::MAX)),
        ("header name", &|| {
            ApiKeyAuth::header("shop", "X-Key", keys()).is_err()
        }),
        ("no header name", &|| {
            ApiKeyAuth::header("shop", "", keys()).is_err()
        }),
        ("no parameter name", &|| {
            ApiKeyAuth::query("shop", "", keys()).is_err()
        }),
        ("trust domain", &|| {
            ["", "Example.org", "a/b", "spiffe://a"]
                .iter()
                .all(|domain| ClientCertificateAuth::spiffe(domain).is_err())
        }),
    ]);
}
