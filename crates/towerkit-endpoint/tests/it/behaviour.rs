//! Endpoints as a caller sees them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tower::ServiceBuilder;
use towerkit_core::BoxError;
use towerkit_endpoint::{EndpointExt, endpoint_fn};
use towerkit_test::{Action, Probe, run_paused};

/// GK-EP-1
#[tokio::test]
async fn layers_run_outermost_first_and_unwind_in_reverse() {
    let trace = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let trace = trace.clone();
        move |n: u32| {
            trace.lock().unwrap().push(what);
            n
        }
    };
    let endpoint = ServiceBuilder::new()
        .map_response(note("first post"))
        .map_request(note("first pre"))
        .map_response(note("second post"))
        .map_request(note("second pre"))
        .service(endpoint_fn(note("my endpoint"), |note, n| async move {
            Ok::<_, BoxError>(note(n))
        }));
    assert_eq!(endpoint.invoke(7).await.unwrap(), 7);
    let expected = [
        "first pre",
        "second pre",
        "my endpoint",
        "second post",
        "first post",
    ];
    assert_eq!(*trace.lock().unwrap(), expected);
}

/// GK-EP-3
#[tokio::test]
async fn an_error_reaches_the_caller_unchanged() {
    let error = Probe::new().invoke(Action::Fail).await.unwrap_err();
    assert!(error.is_failed());
}

/// T-01
#[test]
fn invoke_waits_for_readiness() {
    run_paused(async {
        let probe = Probe::ready_after(Duration::from_secs(60));
        let counts = probe.counts();
        assert!(probe.invoke(Action::Succeed).await.is_ok());
        assert_eq!((counts.violations(), counts.finished()), (0, 1));
        let error = Probe::never_ready()
            .invoke(Action::Succeed)
            .await
            .unwrap_err();
        assert!(error.is_unready());
    });
}
