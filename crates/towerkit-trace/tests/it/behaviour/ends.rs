//! TR-02: a span ends exactly once, however its call ends, and everything of the call happens inside it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use towerkit_core::{BoxError, LayerExt, TraceIds};
use towerkit_http::HttpExt;
use towerkit_test::{
    Action, GrpcClient, HttpClient, PlainClient, Probe, ProbeError, TestClient, run_paused,
};
use towerkit_trace::TraceLayer;
use tracing::span::{Attributes, Id};
use tracing_subscriber::{layer::SubscriberExt, registry::LookupSpan};

/// Counts spans that begin and end.
#[derive(Clone, Default)]
struct Count(Arc<[AtomicUsize; 2]>);

impl Count {
    fn of(&self) -> [usize; 2] {
        [0, 1].map(|which| self.0[which].load(Ordering::SeqCst))
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Count {
    fn on_new_span(
        &self,
        _attributes: &Attributes<'_>,
        _id: &Id,
        _cx: tracing_subscriber::layer::Context<'_, S>,
    ) {
        self.0[0].fetch_add(1, Ordering::SeqCst);
    }

    fn on_close(&self, _id: Id, _cx: tracing_subscriber::layer::Context<'_, S>) {
        self.0[1].fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs something; how many spans began and ended in it.
fn counted(run: impl FnOnce()) -> [usize; 2] {
    let count = Count::default();
    let subscriber = tracing_subscriber::registry().with(count.clone());
    tracing::subscriber::with_default(subscriber, run);
    count.of()
}

/// Polls a call and its body up to a number of times, and then drops them.
fn poll<C, S>(service: &mut S, act: Action, polls: usize)
where
    S: Service<C::Request, Error = ProbeError>,
    C: TestClient<S>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut call = pin!(async {
        if let Ok(response) = service.call(C::request(act)).await {
            C::read(response, usize::MAX).await;
        }
    });
    for _ in 0..polls {
        if call.as_mut().poll(&mut cx).is_ready() {
            return;
        }
    }
}

fn ends_once<C, L>(layer: L)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError>,
    C: TestClient<L::Service>,
{
    let mut service = layer.layer(Probe::new());
    for act in [Action::Succeed, Action::Fail] {
        assert_eq!(
            counted(|| poll::<C, _>(&mut service, act, 9)),
            [1, 1],
            "{act:?}"
        );
    }
    for polls in 1..=6 {
        let seen = counted(|| poll::<C, _>(&mut service, Action::Pend(4), polls));
        assert_eq!(seen, [1, 1], "dropped after {polls} polls");
    }
    for act in [
        Action::PanicInCall,
        Action::PanicInFuture,
        Action::PanicInBody,
    ] {
        let panics = AssertUnwindSafe(|| poll::<C, _>(&mut service, act, 9));
        let seen = counted(|| assert!(catch_unwind(panics).is_err()));
        assert_eq!(seen, [1, 1], "{act:?}");
    }
    let seen = counted(|| {
        run_paused(async {
            std::future::poll_fn(|cx| service.poll_ready(cx))
                .await
                .unwrap();
            let call = service.call(C::request(Action::Sleep(Duration::from_secs(60))));
            let result = tokio::time::timeout(Duration::from_secs(1), call).await;
            assert!(result.is_err());
        });
    });
    assert_eq!(seen, [1, 1], "timed out");
    // A body that is dropped unread.
    let seen = counted(|| {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let response = pin!(service.call(C::request(Action::Succeed))).poll(&mut cx);
        assert!(response.is_ready());
    });
    assert_eq!(seen, [1, 1], "unread");
}

#[test]
fn a_span_ends_once_over_a_plain_service() {
    ends_once::<PlainClient, _>(TraceLayer::server().plain("probe"));
    ends_once::<PlainClient, _>(TraceLayer::internal().plain("probe"));
}

/// A7.5
#[test]
fn every_started_span_ends_after_a_thousand_calls_of_all_kinds() {
    const ACTS: [Action; 8] = [
        Action::Succeed,
        Action::Fail,
        Action::Pend(1),
        Action::Pend(3),
        Action::Pend(7),
        Action::PanicInCall,
        Action::PanicInFuture,
        Action::PanicInBody,
    ];
    let [began, ended] = counted(|| {
        let mut service = TraceLayer::server().http().layer(Probe::new());
        for (call, act) in (0..1000).zip(ACTS.into_iter().cycle()) {
            let run = AssertUnwindSafe(|| poll::<HttpClient, _>(&mut service, act, 1 + call % 5));
            let _ = catch_unwind(run);
        }
    });
    assert_eq!([began, ended], [1000, 1000]);
}

#[test]
fn a_span_ends_once_over_http() {
    ends_once::<HttpClient, _>(TraceLayer::server().http());
    ends_once::<HttpClient, _>(TraceLayer::client().http());
}

#[test]
fn a_span_ends_once_over_grpc() {
    ends_once::<GrpcClient, _>(TraceLayer::server().grpc());
    ends_once::<GrpcClient, _>(TraceLayer::client().grpc());
}

/// Notes the ids under which it is polled and dropped.
struct Watched {
    frames: u8,
    seen: Arc<std::sync::Mutex<Vec<Option<TraceIds>>>>,
}

impl Watched {
    fn note(&self) {
        self.seen.lock().unwrap().push(TraceIds::current());
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.note();
        self.frames -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"hello")))))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.note();
    }
}

/// A body that breaks off.
struct Broken(u8);

impl Body for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let left = self.0;
        self.0 = left.saturating_sub(1);
        Poll::Ready(Some(match left {
            0 => Err("broken".into()),
            _ => Ok(Frame::data(Bytes::from_static(b"hello"))),
        }))
    }
}

#[test]
fn a_span_ends_once_if_its_body_fails() {
    let seen = counted(|| {
        run_paused(async {
            let service = ServiceBuilder::new()
                .layer(TraceLayer::server().http())
                .service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(Broken(2))));
            let response = service.oneshot(Request::new(())).await.unwrap();
            let mut body = Box::pin(response.into_body());
            let mut cx = Context::from_waker(Waker::noop());
            for is_good in [true, true, false] {
                let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) else {
                    panic!("a frame was expected")
                };
                assert_eq!(frame.is_ok(), is_good);
            }
        });
    });
    assert_eq!(seen, [1, 1]);
}

#[test]
fn a_body_is_polled_and_dropped_inside_its_call() {
    // Under a subscriber, as all tests here: whether a span is of interest is asked once for all threads.
    let run = async {
        let seen = Arc::default();
        let body = Arc::clone(&seen);
        let service = ServiceBuilder::new()
            .layer(TraceLayer::server().http())
            .service_fn(move |_request: Request<()>| {
                let seen = Arc::clone(&body);
                let body = Watched { frames: 9, seen };
                body.note();
                async { Ok::<_, BoxError>(Response::new(body)) }
            });
        let response = service.oneshot(Request::new(())).await.unwrap();
        assert_eq!(TraceIds::current(), None);
        let mut body = Box::pin(response.into_body());
        for _ in 0..2 {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(body.as_mut().poll_frame(&mut cx).is_ready());
        }
        drop(body);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 4);
        assert!(seen[0].is_some() && seen.iter().all(|ids| *ids == seen[0]));
    };
    assert_eq!(counted(|| run_paused(run)), [1, 1]);
}
