//! What a logged call allocates: nothing, in the long run.

use std::{io, thread};

use allocation_counter::measure;
use http::Request;
use towerkit_core::{Call, End, IntoRole, Outcome, Policy, Role, Status};
use towerkit_http::Http;
use towerkit_log::{Format, LogLayer};
use tracing::dispatcher::with_default;

fn allocations(format: Format) -> [u64; 2] {
    let role = LogLayer::new().into_role();
    let http = Http::new().operation(|head| head.uri.path());
    let mut request = Request::get("/users/and/their/orders").body(()).unwrap();
    let end = End::new(Outcome::Success).with_status(Some(Status::Http(200)));
    let mut once = || {
        let mut call = Call::new(&mut request, &http);
        let held = Role::begin(&role, &mut call);
        Policy::finish(&role, held.unwrap(), &end);
    };
    let subscriber = towerkit_log::subscriber(format).writer(io::sink);
    with_default(&subscriber.dispatch(), || {
        let first = measure(&mut once).count_total;
        let many = || (0..100).for_each(|_| once());
        [first, measure(many).count_total]
    })
}

#[test]
fn a_logged_call_allocates_nothing_in_the_long_run() {
    for format in [Format::Json, Format::Logfmt] {
        // Memory is kept by each thread.
        let [first, later] = thread::spawn(move || allocations(format)).join().unwrap();
        assert!(first > 0, "the counter counts");
        assert_eq!(later, 0, "{format:?}");
    }
}
