//! T-04: a panic of a classifier or a body is a panic of the call, and releases the state of the call.

use std::{
    future::{poll_fn, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use http_body::Body;
use tower::{Layer, Service, service_fn};
use towerkit_core::{Call, CallEnd, LayerExt, Observer, Outcome, Policy, Rejection, observe};
use towerkit_http::{Http, ResponseHead};
use towerkit_test::{Action, Probe, Subject, Task, contract};

/// Records if each call ended by a panic.
#[derive(Default)]
struct Panics(Mutex<Vec<bool>>);

impl Policy for Panics {
    type CallState = ();

    fn finish(&self, (): (), end: &CallEnd) {
        self.0.lock().unwrap().push(end.has_panicked());
    }
}

impl<Req> Observer<Req> for Panics {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

contract!(
    followed_over_http,
    HttpClient,
    Subject::new(observe(Panics::default()).protocol(Http::new()))
);
contract!(
    followed_over_grpc,
    GrpcClient,
    Subject::new(observe(Panics::default()).protocol(Http::new()))
);

fn panics<T>(future: impl Future<Output = T> + 'static) {
    let mut task = Task::new(future);
    let run = AssertUnwindSafe(|| while task.poll().is_pending() {});
    assert!(catch_unwind(run).is_err(), "nothing panicked");
}

#[test]
fn a_classifier_that_panics_is_a_panic_of_the_call() {
    let ends = Arc::<Panics>::default();
    let classify = |_: ResponseHead<'_>| -> Outcome { panic!("the classifier panics") };
    let service =
        service_fn(|_: Request<()>| ready(Ok::<_, Rejection>(Response::new(String::new()))));
    let layer = observe(ends.clone()).protocol(Http::new().classify(classify));
    panics(layer.layer(service).call(Request::new(())));
    assert_eq!(*ends.0.lock().unwrap(), [true]);
}

#[test]
fn a_body_that_panics_in_a_method_is_a_panic_of_the_call() {
    let ends = Arc::<Panics>::default();
    let layer = observe(ends.clone()).protocol(Http::new());
    let mut service = layer.layer(Probe::new());
    panics(async move {
        poll_fn(|cx| Service::<Request<Action>>::poll_ready(&mut service, cx))
            .await
            .unwrap();
        let response = service.call(Request::new(Action::PanicInBodyEnd)).await;
        let mut body = pin!(response.unwrap().into_body());
        while poll_fn(|cx| body.as_mut().poll_frame(cx)).await.is_some() {}
    });
    assert_eq!(*ends.0.lock().unwrap(), [true]);
}
