//! A logged call allocates nothing in the long run.

use std::{
    io,
    num::{NonZeroU32, NonZeroUsize},
    thread,
    time::Duration,
};

use allocation_counter::measure;
use http::Request;
use towerkit_core::{Call, CallEnd, Clock, IntoPolicy, Outcome, Policy, RunPolicy, Status};
use towerkit_http::{Http, PeerAddress};
use towerkit_log::{Background, Format, LogLayer, Sampling, subscriber};
use tracing::{Dispatch, dispatcher::with_default};

/// Returns the allocations of the first call and of many later ones in a thread that logs to `dispatch`.
fn allocations(dispatch: &Dispatch) -> [u64; 2] {
    let policy = LogLayer::new().into_policy();
    let http = Http::new().operation(|head| head.uri.path());
    let mut request = Request::get("/users/and/their/orders").body(()).unwrap();
    let end = CallEnd::new(Outcome::Success).with_status(Some(Status::Http(200)));
    allocations_of(dispatch, || {
        let mut call = Call::new(&mut request, &http);
        let state = RunPolicy::start(&policy, &mut call);
        Policy::finish(&policy, state.unwrap(), &end);
    })
}

fn allocations_of(dispatch: &Dispatch, mut once: impl FnMut()) -> [u64; 2] {
    with_default(dispatch, || {
        let first = measure(&mut once).count_total;
        let mut many = || (0..100).for_each(|_| once());
        // Other tests of this process make subscribers, and each has to be asked once.
        many();
        [first, measure(many).count_total]
    })
}

/// Memory is kept by each thread.
fn in_a_thread(log: impl FnOnce() -> [u64; 2] + Send) -> [u64; 2] {
    thread::scope(|scope| scope.spawn(log).join().unwrap())
}

#[test]
fn a_logged_call_allocates_nothing_in_the_long_run() {
    for format in [Format::Json, Format::Logfmt] {
        let dispatch = subscriber(format).writer(io::sink).dispatch();
        let [first, later] = in_a_thread(|| allocations(&dispatch));
        assert!(first > 0, "the counter counts");
        assert_eq!(later, 0, "{format:?}");
    }
}

/// Whether the writing thread sleeps, writes, or has no room left.
#[test]
fn a_call_that_is_logged_in_the_background_allocates_nothing_in_the_long_run() {
    let kib = NonZeroUsize::new(1024).unwrap();
    for background in [Background::new(), Background::new().bytes(kib)] {
        let subscriber = subscriber(Format::Json).writer(io::sink);
        let (subscriber, guard) = subscriber.background(background).unwrap();
        let dispatch = subscriber.dispatch();
        for _ in 0..3 {
            let [_, later] = in_a_thread(|| allocations(&dispatch));
            assert_eq!(later, 0);
            guard.queue().flush(Duration::from_secs(30));
        }
    }
}

/// Also where something has to be shown, cut, redacted or changed.
#[test]
fn values_of_every_kind_allocate_nothing_in_the_long_run() {
    let dispatch = subscriber(Format::Json).writer(io::sink).dispatch();
    let long = "é".repeat(10_000);
    let log = || {
        tracing::info!(
            url = "https://ann:secret@example.org/?token=abc",
            password = "secret",
            shown = %"a\nb",
            bytes = &b"\xff"[..],
            large = u128::MAX,
            float = 1.5,
            long,
            "at https://ann:secret@example.org/",
        );
    };
    let [first, later] = in_a_thread(|| allocations_of(&dispatch, log));
    assert!(first > 0, "the counter counts");
    assert_eq!(later, 0);
}

/// Also with fields of the application, and those that name the call.
#[test]
fn fields_of_the_application_allocate_nothing_in_the_long_run() {
    let dispatch = subscriber(Format::Json).writer(io::sink).dispatch();
    let layer = LogLayer::new()
        .field("tenant", |call| call.header("x-tenant").map(Into::into))
        .field("agent", |call| call.header("user-agent").map(Into::into));
    let policy = layer.into_policy();
    let http = Http::new();
    let request = Request::get("/no/such/path").header("x-tenant", "acme");
    let request = request.header("x-request-id", "7f3a");
    let peer = PeerAddress(([192, 0, 2, 1], 443).into());
    let mut request = request.extension(peer).body(()).unwrap();
    let [first, later] = in_a_thread(|| {
        allocations_of(&dispatch, || {
            let state = RunPolicy::start(&policy, &mut Call::new(&mut request, &http));
            Policy::finish(&policy, state.unwrap(), &CallEnd::new(Outcome::Success));
        })
    });
    assert!(first > 0, "the counter counts");
    assert_eq!(later, 0);
}

/// A call that is left out costs no more.
#[test]
fn a_call_that_is_left_out_allocates_nothing() {
    let dispatch = subscriber(Format::Json).writer(io::sink).dispatch();
    let sampling = Sampling::new().successes(NonZeroU32::new(1000).unwrap());
    // The clock stands still, so that there is one report of the calls left out.
    let (clock, _hand) = Clock::manual();
    let policy = LogLayer::new()
        .sampling(sampling)
        .clock(clock)
        .into_policy();
    let http = Http::new();
    let mut request = Request::new(());
    let [_, later] = in_a_thread(|| {
        allocations_of(&dispatch, || {
            let state = RunPolicy::start(&policy, &mut Call::new(&mut request, &http));
            Policy::finish(&policy, state.unwrap(), &CallEnd::new(Outcome::Success));
        })
    });
    assert_eq!(later, 0);
}
