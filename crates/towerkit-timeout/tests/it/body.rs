//! Timeouts of response bodies, as a reader and outer layers see them.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::{
    task::coop,
    time::{Instant, Sleep, sleep},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkit_core::{
    BoxError, Call, CallEnd, CarriesRejection, Deadline, LayerExt, Observer, OperationSet, Outcome,
    Policy, Rejection, RejectionReason, Status, observe,
};
use towerkit_http::{Http, HttpExt};
use towerkit_test::tokio_clock;
use towerkit_timeout::{BodyTimeoutLayer, TimeoutBody};

use crate::behaviour::ended;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// A body that yields one byte after each pause, and then its trailers. A weak reference shows when it is dropped.
struct Dribble {
    pauses: Vec<Duration>,
    sleep: Option<Pin<Box<Sleep>>>,
    trailers: Option<HeaderMap>,
    _alive: Arc<()>,
}

impl Dribble {
    fn new(pauses: &[Duration]) -> (Self, Arc<()>) {
        let alive = Arc::new(());
        let body = Self {
            pauses: pauses.iter().rev().copied().collect(),
            sleep: None,
            trailers: None,
            _alive: alive.clone(),
        };
        (body, alive)
    }
}

impl Body for Dribble {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(&pause) = self.pauses.last() else {
            return Poll::Ready(self.trailers.take().map(Frame::trailers).map(Ok));
        };
        if pause > Duration::ZERO {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(pause)));
            std::task::ready!(sleep.as_mut().poll(cx));
        }
        self.sleep = None;
        self.pauses.pop();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b".")))))
    }
}

/// The end of a body that was read, and its time.
struct Read {
    bytes: usize,
    trailers: Option<HeaderMap>,
    error: Option<BoxError>,
    took: Duration,
}

async fn read<B>(body: B) -> Read
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    let start = Instant::now();
    let mut body = body;
    let mut read = Read {
        bytes: 0,
        trailers: None,
        error: None,
        took: Duration::ZERO,
    };
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => read.bytes += data.len(),
            Ok(Err(frame)) => read.trailers = frame.into_trailers().ok(),
            Err(error) => read.error = Some(error),
        }
    }
    assert!(body.is_end_stream() || read.error.is_none());
    read.took = start.elapsed();
    read
}

/// Returns a service that responds once, with this body and the content type of the request.
fn answering(
    body: Dribble,
) -> impl Service<Request<()>, Response = Response<Dribble>, Error = Infallible> {
    let body = Mutex::new(Some(body));
    service_fn(move |request: Request<()>| {
        let mut response = Response::new(body.lock().unwrap().take().unwrap());
        *response.headers_mut() = request.headers().clone();
        async { Ok(response) }
    })
}

async fn call(
    layer: BodyTimeoutLayer<Http>,
    request: Request<()>,
    body: Dribble,
) -> Response<TimeoutBody<Dribble>> {
    let Ok(response) = layer.layer(answering(body)).oneshot(request).await;
    response
}

fn layer(idle: Duration) -> BodyTimeoutLayer {
    BodyTimeoutLayer::new(idle).unwrap()
}

fn get() -> Request<()> {
    Request::new(())
}

fn grpc() -> Request<()> {
    let request = Request::post("/shop.Orders/Watch");
    let request = request.header("content-type", "application/grpc");
    request.body(()).unwrap()
}

fn about(took: Duration, expected: Duration) {
    assert!(took >= expected && took <= expected + 2 * MILLI, "{took:?}");
}

/// TO-02
#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_ends_at_its_idle_time() {
    let (body, alive) = Dribble::new(&[Duration::ZERO, SECOND, 3600 * SECOND]);
    let response = call(layer(5 * SECOND).name("orders").http(), get(), body).await;
    assert_eq!(response.status(), 200);
    let read = read(response.into_body()).await;
    let error = read.error.unwrap();
    assert_eq!(error.to_string(), "orders: the body exceeded its idle time");
    assert_eq!(
        error.source().unwrap().to_string(),
        "orders: deadline exceeded"
    );
    assert_eq!(
        error.rejection().map(Rejection::reason),
        Some(RejectionReason::DeadlineExceeded)
    );
    assert_eq!(read.bytes, 2);
    about(read.took, 6 * SECOND);
    assert_eq!(Arc::strong_count(&alive), 1, "the inner body is dropped");
}

/// TO-02
#[tokio::test(start_paused = true)]
async fn a_body_that_dribbles_ends_at_its_total_time() {
    let layer = layer(5 * SECOND).total(30 * SECOND).unwrap();
    let (body, alive) = Dribble::new(&[SECOND; 100]);
    let response = call(layer.http(), get(), body).await;
    let read = read(response.into_body()).await;
    assert_eq!(
        read.error.unwrap().to_string(),
        "body-timeout: the body exceeded its total time"
    );
    about(read.took, 30 * SECOND);
    assert!((29..=30).contains(&read.bytes), "{}", read.bytes);
    assert_eq!(Arc::strong_count(&alive), 1);
}

/// TO-02
#[tokio::test(start_paused = true)]
async fn a_body_in_time_is_unchanged() {
    let layer = layer(5 * SECOND).total(60 * SECOND).unwrap();
    let (mut body, _alive) = Dribble::new(&[5 * SECOND; 10]);
    body.trailers = Some(HeaderMap::from_iter([(
        "x-sum".parse().unwrap(),
        "1".parse().unwrap(),
    )]));
    let response = call(layer.http(), get(), body).await;
    let read = read(response.into_body()).await;
    assert!(read.error.is_none());
    assert_eq!(
        (read.bytes, read.trailers.unwrap()["x-sum"].as_bytes()),
        (10, &b"1"[..])
    );
}

/// Time between two polls of a slow reader is not idle time, but counts to the total, even if the body is never pending.
#[tokio::test(start_paused = true)]
async fn time_without_a_reader_counts_to_the_total_only() {
    let limited = layer(SECOND).total(20 * SECOND).unwrap();
    let (body, _alive) = Dribble::new(&[Duration::ZERO; 100]);
    let mut body = call(limited.http(), get(), body).await.into_body();
    for _ in 0..4 {
        sleep(5 * SECOND).await;
        assert!(body.frame().await.unwrap().is_ok());
    }
    sleep(MILLI).await;
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none(), "over for good");
    assert_eq!(body.size_hint().exact(), Some(0));
}

/// TO-05
#[test]
fn a_body_that_never_waits_makes_no_timer() {
    let (body, _alive) = Dribble::new(&[Duration::ZERO; 3]);
    let mut call = Box::pin(call(
        layer(SECOND).total(SECOND).unwrap().http(),
        get(),
        body,
    ));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(response) = call.as_mut().poll(&mut cx) else {
        panic!("it waits");
    };
    let mut body = response.into_body();
    for _ in 0..3 {
        let frame = Pin::new(&mut body).poll_frame(&mut cx);
        assert!(matches!(frame, Poll::Ready(Some(Ok(_)))));
    }
}

/// T-06
#[tokio::test(start_paused = true)]
async fn a_body_that_waits_is_not_polled_needlessly() {
    let (body, _alive) = Dribble::new(&[60 * SECOND]);
    let mut body = call(layer(90 * SECOND).http(), get(), body)
        .await
        .into_body();
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        Pin::new(&mut body).poll_frame(cx).map(drop)
    })
    .await;
    assert!(polls <= 3, "{polls}");
}

/// TO-03
#[tokio::test(start_paused = true)]
async fn a_body_ends_at_the_deadline_of_its_request() {
    let mut request = get();
    let deadline = Deadline::after(&tokio_clock(), 3 * SECOND);
    request.extensions_mut().insert(deadline);
    let (body, _alive) = Dribble::new(&[SECOND; 100]);
    let layer = layer(5 * SECOND).total(30 * SECOND).unwrap();
    let response = call(layer.http(), request, body).await;
    let read = read(response.into_body()).await;
    about(read.took, 3 * SECOND);
    assert!(read.error.unwrap().to_string().ends_with("its total time"));
}

/// TO-02
#[tokio::test(start_paused = true)]
async fn over_grpc_the_trailers_report_the_timeout() {
    let (body, alive) = Dribble::new(&[SECOND, 3600 * SECOND]);
    let response = call(layer(5 * SECOND).http(), grpc(), body).await;
    let read = read(response.into_body()).await;
    let trailers = read.trailers.unwrap();
    assert_eq!(trailers["grpc-status"], "4");
    assert_eq!(trailers["grpc-message"], "deadline exceeded");
    assert!(read.error.is_none());
    about(read.took, 6 * SECOND);
    assert_eq!(Arc::strong_count(&alive), 1);
}

/// Records the ends of calls.
#[derive(Default)]
struct Ends(Mutex<Vec<CallEnd>>);

impl Policy for Ends {
    type CallState = ();
    fn finish(&self, (): (), end: &CallEnd) {
        self.0.lock().unwrap().push(end.clone());
    }
}

impl<Req> Observer<Req> for Ends {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

/// TO-02: outer observers see a timeout, not a failure or a cancelled call.
#[tokio::test(start_paused = true)]
async fn outer_layers_record_a_timeout() {
    for (request, status, head) in [
        (get(), Status::Http(200), Some(Outcome::Success)),
        (grpc(), Status::Grpc(4), None),
    ] {
        let ends = Arc::new(Ends::default());
        let service = observe(ends.clone())
            .http()
            .layer(service_fn(|request| async {
                let (body, _) = Dribble::new(&[3600 * SECOND]);
                Ok::<_, Infallible>(call(layer(SECOND).http(), request, body).await)
            }));
        let Ok(response) = service.oneshot(request).await;
        read(response.into_body()).await;
        let ends = ends.0.lock().unwrap();
        let [end] = &ends[..] else {
            panic!("{ends:?}");
        };
        assert_eq!(end.outcome(), Outcome::TimedOut);
        assert_eq!((end.head_outcome(), end.has_head()), (head, true));
        assert_eq!(end.status(), Some(status));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_changes_the_limits_of_later_bodies() {
    let idle_alone = layer(SECOND);
    let layer = idle_alone.clone().total(9 * SECOND).unwrap();
    assert_eq!(
        idle_alone.handle().snapshot().total,
        None,
        "a clone of its own"
    );
    let handle = layer.handle();
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.idle, snapshot.total), (SECOND, Some(9 * SECOND)));
    handle.set_idle(3 * SECOND).unwrap();
    handle.set_total(None).unwrap();
    assert!(handle.set_idle(Duration::ZERO).is_err());
    assert!(handle.set_total(Some(Duration::ZERO)).is_err());
    assert!(handle.set_total(Some(Duration::MAX)).is_err());
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.idle, snapshot.total), (3 * SECOND, None));
    let (body, _alive) =
        Dribble::new(&[2 * SECOND, 2 * SECOND, 2 * SECOND, 2 * SECOND, 4 * SECOND]);
    let response = call(layer.http(), get(), body).await;
    about(read(response.into_body()).await.took, 11 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_handle_follows_later_setters() {
    let layer = layer(SECOND);
    let handle = layer.handle();
    let layer = layer.total(9 * SECOND).unwrap().name("download");
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.idle, snapshot.total), (SECOND, Some(9 * SECOND)));
    handle.set_idle(3 * SECOND).unwrap();
    let (body, _alive) = Dribble::new(&[2 * SECOND, 4 * SECOND]);
    let response = call(layer.http(), get(), body).await;
    about(read(response.into_body()).await.took, 5 * SECOND);
}

/// A4.7
#[tokio::test(start_paused = true)]
async fn bodies_of_other_operations_have_no_timeout() {
    for (name, is_whole) in [("other.", true), ("shop.", false)] {
        let only = layer(SECOND).only(OperationSet::prefix(name)).http();
        let (body, _alive) = Dribble::new(&[100 * SECOND]);
        let Ok(response) = only.layer(answering(body)).oneshot(grpc()).await;
        let read = read(response.into_body()).await;
        assert_eq!(read.bytes == 1, is_whole);
    }
}

/// Uses up tokio's cooperative budget at every poll, and is always pending.
struct Greedy;

impl Body for Greedy {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while pin!(coop::consume_budget()).poll(cx).is_ready() {}
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_yields_by_itself_times_out() {
    let limits = [layer(SECOND), layer(60 * SECOND).total(SECOND).unwrap()];
    for layer in limits {
        let inner = service_fn(async |_| Ok::<_, Infallible>(Response::new(Greedy)));
        let Ok(response) = layer.http().layer(inner).oneshot(get()).await;
        let read = tokio::spawn(response.into_body().collect());
        assert!(ended(read).await.is_err());
    }
}
