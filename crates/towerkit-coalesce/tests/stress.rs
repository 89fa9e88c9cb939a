//! Many callers on many threads, some of which go away, against a service that fails, dawdles and panics.
//!
//! In a process of its own, as it sets the hook of panics.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use proptest::{strategy::Strategy, strategy::ValueTree, test_runner::TestRunner};
use tower::{Layer, Service};
use towerkit_coalesce::CoalesceLayer;
use towerkit_core::LayerExt;
use towerkit_test::{Action, Probe};

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future until it is ready or so many polls have been made. Between polls it waits for its waker, and not for ever.
fn poll_by_waker<F: Future>(future: F, polls: u32) -> Option<F::Output> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        let start = Instant::now();
        thread::park_timeout(Duration::from_secs(20));
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "not woken in time"
        );
    }
    None
}

#[test]
fn every_call_of_many_threads_ends() {
    const CALLS: u32 = 20_000;
    let probe = Probe::new();
    let counts = probe.counts();
    let key: fn(&Action) -> Option<u8> = |act| match act {
        Action::Pend(times) => Some((times % 2) as u8),
        _ => Some(0),
    };
    let layer = CoalesceLayer::new(key).plain("probe");
    let service = layer.layer(probe);
    let handle = layer.handle();
    std::panic::set_hook(Box::new(|info| {
        if !info.to_string().contains("the probe panics") {
            eprintln!("{info}");
        }
    }));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut runner = TestRunner::default();
                let acts = proptest::prop_oneof![
                    6 => (0..6_u32).prop_map(Action::Pend),
                    2 => proptest::strategy::Just(Action::Fail),
                    1 => proptest::strategy::Just(Action::PanicInFuture),
                ];
                let calls = (acts, 0..8_u32);
                for _ in 0..CALLS {
                    let (act, polls) = calls.new_tree(&mut runner).unwrap().current();
                    // Half of the callers stay to the end.
                    let polls = if polls < 4 { polls } else { u32::MAX };
                    let mut service = service.clone();
                    let call = AssertUnwindSafe(|| {
                        poll_by_waker(
                            async move {
                                std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
                                service.call(act).await
                            },
                            polls,
                        )
                    });
                    let panicked = catch_unwind(call).is_err();
                    assert!(!panicked || act == Action::PanicInFuture);
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    assert_eq!(handle.snapshot().in_flight, 0);
    assert_eq!(
        (counts.in_flight(), counts.reserved(), counts.violations()),
        (0, 0, 0)
    );
    assert!(handle.snapshot().shared > 0, "no two calls met");
}
