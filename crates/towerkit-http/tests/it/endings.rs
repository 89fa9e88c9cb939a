//! A call ends exactly once, with the right outcome, for each way in which a body can end.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower::{Layer, ServiceExt};
use towerkit_core::{
    Call, CallEnd, Headers, LayerExt, Observer, Outcome, Policy, PolicyLayer, Rejection,
    RejectionReason, Status, observe,
};
use towerkit_http::{Http, HttpExt};

/// Records every end, and its order.
#[derive(Default)]
struct Scribe(Mutex<Vec<CallEnd>>);

impl Scribe {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn end(&self) -> CallEnd {
        let ends = self.0.lock().unwrap();
        assert_eq!(ends.len(), 1, "finished exactly once");
        ends[0].clone()
    }
}

impl Policy for Scribe {
    type CallState = ();

    fn add_response_headers(&self, _state: &(), headers: &mut dyn Headers) {
        headers.set("x-observed", &true);
    }

    fn finish(&self, _state: (), end: &CallEnd) {
        self.0.lock().unwrap().push(end.clone());
    }
}

impl<Req> Observer<Req> for Scribe {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

/// A body of scripted frames.
#[derive(Default)]
struct Script {
    frames: Vec<Result<Frame<Bytes>, &'static str>>,
    size: Option<u64>,
    says_end: bool,
    panics: bool,
    /// Declares the end of the stream, with frames left.
    over: Option<Arc<AtomicBool>>,
    _on_drop: OnDrop,
}

#[derive(Default)]
struct OnDrop(Option<Box<dyn FnOnce() + Send>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

impl Script {
    fn of(frames: impl IntoIterator<Item = Result<Frame<Bytes>, &'static str>>) -> Self {
        let mut frames: Vec<_> = frames.into_iter().collect();
        frames.reverse();
        Self {
            frames,
            ..Self::default()
        }
    }

    fn says_end(mut self) -> Self {
        self.says_end = true;
        self
    }

    fn sized(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        assert!(!self.panics, "the body panics");
        Poll::Ready(self.frames.pop())
    }

    fn is_end_stream(&self) -> bool {
        let is_over = |over: &Arc<AtomicBool>| over.load(Ordering::Relaxed);
        self.says_end && self.frames.is_empty() || self.over.as_ref().is_some_and(is_over)
    }

    fn size_hint(&self) -> SizeHint {
        self.size
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailers(code: &'static str) -> Result<Frame<Bytes>, &'static str> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    Ok(Frame::trailers(trailers))
}

fn get() -> Request<()> {
    Request::new(())
}

fn grpc() -> Request<()> {
    let request = Request::post("/pkg.Service/Method");
    request
        .header("content-type", "application/grpc+proto")
        .body(())
        .unwrap()
}

/// The scribe is counted here as well as by the layer.
type Watching = towerkit_core::AsObserver<Arc<Arc<Scribe>>>;

type Observed = Response<towerkit_http::TrackedBody<Script, Watching>>;

/// Calls a service with a gRPC request, and returns this response as gRPC.
fn call_grpc(mut response: Response<Script>) -> (Arc<Scribe>, Observed) {
    let grpc_proto = "application/grpc+proto".parse().unwrap();
    response.headers_mut().insert("content-type", grpc_proto);
    call(grpc(), response)
}

/// Calls a service that returns this response.
fn call(request: Request<()>, response: Response<Script>) -> (Arc<Scribe>, Observed) {
    call_by(HttpExt::http, request, response)
}

fn call_by<P, C>(
    speak: impl FnOnce(PolicyLayer<Watching>) -> PolicyLayer<Watching, Http<C, P>>,
    request: Request<()>,
    response: Response<Script>,
) -> (Arc<Scribe>, Observed)
where
    P: towerkit_http::OperationName + Clone,
    C: towerkit_http::ClassifyHead + Clone,
{
    let scribe = Arc::new(Scribe::default());
    let response = Mutex::new(Some(response));
    let service = speak(observe(scribe.clone())).layer(tower::service_fn(move |_: Request<()>| {
        let response = response.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(response) }
    }));
    let Ok(response) = service.oneshot(request).now_or_never().unwrap();
    (scribe, response)
}

/// Reads all frames, as a client does.
fn read(response: Observed) {
    let mut body = pin!(response.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(_))) = body.as_mut().poll_frame(&mut cx) {}
}

fn frame(body: &mut Pin<&mut impl Body>) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(body.as_mut().poll_frame(&mut cx).is_ready());
}

#[test]
fn at_no_further_frame() {
    let (scribe, response) = call(get(), Response::new(Script::of([data("one"), data("two")])));
    assert_eq!(response.headers()["x-observed"], "true");
    assert_eq!(scribe.count(), 0, "not at the head");
    read(response);
    let end = scribe.end();
    assert_eq!(end.outcome(), Outcome::Success);
    assert_eq!(end.status(), Some(Status::Http(200)));
    assert_eq!(end.bytes(), 6);
}

#[test]
fn at_trailers() {
    let script = Script::of([data("one"), trailers("ignored over HTTP")]);
    let (scribe, response) = call(get(), Response::new(script));
    let mut body = pin!(response.into_body());
    frame(&mut body);
    assert_eq!(scribe.count(), 0);
    frame(&mut body);
    assert_eq!(scribe.end().outcome(), Outcome::Success);
}

#[test]
fn at_an_error() {
    let (scribe, response) = call(
        get(),
        Response::new(Script::of([data("one"), Err("reset")])),
    );
    read(response);
    let end = scribe.end();
    assert_eq!(end.outcome(), Outcome::Failure);
    assert_eq!(end.head_outcome(), Some(Outcome::Success));
}

#[test]
fn at_construction_without_a_body() {
    // hyper polls neither a body that says it is over nor one whose declared length is 0.
    for empty in [Script::default().says_end(), Script::of([]).sized(0)] {
        let (scribe, response) = call(get(), Response::new(empty));
        assert_eq!(scribe.end().outcome(), Outcome::Success);
        drop(response);
        assert_eq!(scribe.count(), 1);
    }
}

#[test]
fn at_the_head_if_http_allows_no_body() {
    let unread = || Script::of([data("never polled")]);
    let mut head = get();
    *head.method_mut() = Method::HEAD;
    let (scribe, _response) = call(head, Response::new(unread()));
    assert_eq!(scribe.end().outcome(), Outcome::Success);
    for status in [101, 204, 205, 304] {
        let response = Response::builder()
            .status(status)
            .header("content-length", "12")
            .body(unread())
            .unwrap();
        let (scribe, _response) = call(get(), response);
        let end = scribe.end();
        assert_eq!(
            (end.outcome(), end.status()),
            (Outcome::Success, Some(Status::Http(status)))
        );
    }
}

/// RFC 9110, section 9.3.6: a 2xx opens the tunnel; any other response has a body.
#[test]
fn at_the_head_if_a_tunnel_begins() {
    let connect = || Request::connect("example.com:443").body(()).unwrap();
    let (scribe, _response) = call(connect(), Response::new(Script::of([data("unread")])));
    assert_eq!(scribe.end().outcome(), Outcome::Success);
    let bad_gateway = Response::builder().status(502);
    let (scribe, response) = call(
        connect(),
        bad_gateway.body(Script::of([data("no")])).unwrap(),
    );
    assert_eq!(scribe.count(), 0);
    read(response);
    assert_eq!(scribe.end().bytes(), 2);
}

#[test]
fn at_the_frame_that_the_body_declares_the_last() {
    let (scribe, response) = call(get(), Response::new(Script::of([data("one")]).says_end()));
    frame(&mut pin!(response.into_body()));
    assert_eq!(scribe.end().bytes(), 3);
}

/// hyper does not poll a body again after the declared length.
#[test]
fn at_the_declared_length() {
    let by_hint = Response::new(Script::of([data("one"), data("two")]).sized(6));
    let by_header = Response::builder()
        .header("content-length", "6")
        .body(Script::of([data("one"), data("two")]))
        .unwrap();
    for response in [by_hint, by_header] {
        let (scribe, response) = call(get(), response);
        let mut body = pin!(response.into_body());
        frame(&mut body);
        assert_eq!(scribe.count(), 0);
        frame(&mut body);
        assert_eq!(scribe.end().outcome(), Outcome::Success);
    }
}

fn declared(length: &str, script: Script) -> Response<Script> {
    let response = Response::builder().header("content-length", length);
    response.body(script).unwrap()
}

/// hyper aborts the connection after a body that is too short, and does not send the rest of one that is too long.
#[test]
fn a_body_of_another_length_than_declared_is_a_failure() {
    let one = || Script::of([data("one")]);
    let trailing = Script::of([data("one"), trailers("ignored over HTTP")]);
    for response in [
        declared("6", one()),
        declared("6", one().says_end()),
        declared("6", one().says_end().sized(3)),
        declared("6", trailing),
        declared("2", one()),
        declared("1", Script::of([]).says_end()),
        Response::new(one().sized(4)),
    ] {
        let (scribe, response) = call(get(), response);
        read(response);
        let end = scribe.end();
        assert_eq!(end.outcome(), Outcome::Failure, "{end:?}");
        assert_eq!(end.head_outcome(), Some(Outcome::Success));
        assert_eq!(end.status(), Some(Status::Http(200)));
    }
    let (scribe, response) = call(get(), declared("no number", one()));
    read(response);
    assert_eq!(scribe.end().outcome(), Outcome::Success);
}

/// hyper drops a body that declares its end without another poll.
#[test]
fn at_a_drop_as_a_success_if_the_body_has_ended() {
    let over = |declared: Option<&str>| {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut response = Response::new(Script {
            over: Some(is_over.clone()),
            ..Script::of([data("one")])
        });
        if let Some(length) = declared {
            let length = length.parse().unwrap();
            response.headers_mut().insert("content-length", length);
        }
        let (scribe, response) = call(get(), response);
        let mut body = Box::pin(response.into_body());
        frame(&mut body.as_mut());
        assert_eq!(scribe.count(), 0);
        is_over.store(true, Ordering::Relaxed);
        assert!(body.is_end_stream());
        drop(body);
        scribe.end().outcome()
    };
    assert_eq!(over(None), Outcome::Success);
    assert_eq!(over(Some("4")), Outcome::Failure);
}

/// The body may own a resource that the policies report as released.
#[test]
fn a_body_is_dropped_before_the_call_is_finished() {
    let scribe = Arc::new(Scribe::default());
    let ends_seen = Arc::new(Mutex::new(None));
    let on_drop = {
        let (scribe, ends_seen) = (scribe.clone(), ends_seen.clone());
        OnDrop(Some(Box::new(move || {
            *ends_seen.lock().unwrap() = Some(scribe.count());
        })))
    };
    let response = Mutex::new(Some(Response::new(Script {
        _on_drop: on_drop,
        ..Script::of([data("one")])
    })));
    let service = observe(scribe.clone())
        .http()
        .layer(tower::service_fn(move |_: Request<()>| {
            let response = response.lock().unwrap().take().unwrap();
            async { Ok::<_, Infallible>(response) }
        }));
    let Ok(response) = service.oneshot(get()).now_or_never().unwrap();
    drop(response);
    assert_eq!(*ends_seen.lock().unwrap(), Some(0));
    assert_eq!(scribe.end().outcome(), Outcome::Cancelled);
}

/// T-03
#[test]
fn at_a_drop_as_cancelled_with_the_status_of_the_head() {
    let (scribe, response) = call(get(), Response::new(Script::of([data("one"), data("two")])));
    {
        frame(&mut pin!(response.into_body()));
    }
    let end = scribe.end();
    assert_eq!(end.outcome(), Outcome::Cancelled);
    assert_eq!(end.head_outcome(), Some(Outcome::Success));
    assert_eq!((end.status(), end.bytes()), (Some(Status::Http(200)), 3));
}

#[test]
fn at_a_drop_a_failure_known_at_the_head_stays_a_failure() {
    let response = Response::builder()
        .status(500)
        .body(Script::of([data("oh")]))
        .unwrap();
    let (scribe, response) = call(get(), response);
    drop(response);
    assert_eq!(scribe.end().outcome(), Outcome::Failure);
}

/// T-04
#[test]
fn at_a_panic_in_the_body() {
    let script = Script {
        panics: true,
        ..Script::default()
    };
    let (scribe, response) = call(get(), Response::new(script));
    assert!(catch_unwind(AssertUnwindSafe(|| read(response))).is_err());
    assert!(scribe.end().has_panicked());
}

/// CB-12; other libraries take an absent status for OK.
#[test]
fn over_grpc_the_outcome_is_in_the_trailers() {
    for (code, outcome, status) in [
        ("0", Outcome::Success, 0),
        ("14", Outcome::Overloaded, 14),
        ("5", Outcome::ClientError, 5),
        ("x", Outcome::Failure, 2),
        ("4242", Outcome::Failure, 2),
        ("17", Outcome::Failure, 2),
        ("+5", Outcome::Failure, 2),
        ("", Outcome::Failure, 2),
    ] {
        let messages = (0..10).map(|_| data("message")).chain([trailers(code)]);
        let (scribe, response) = call_grpc(Response::new(Script::of(messages)));
        assert_eq!(scribe.count(), 0);
        read(response);
        assert_eq!(scribe.end().outcome(), outcome);
        assert_eq!(scribe.end().status(), Some(Status::Grpc(status)));
    }
    let (scribe, response) = call_grpc(Response::new(Script::of([data("message")])));
    read(response);
    assert_eq!(
        scribe.end().status(),
        Some(Status::Grpc(2)),
        "absent is UNKNOWN"
    );
}

/// A breaker must not count a stream that hangs as a success.
#[test]
fn over_grpc_a_head_without_a_code_has_no_outcome() {
    let (scribe, response) = call_grpc(Response::new(Script::of([data("message")])));
    drop(response);
    let end = scribe.end();
    assert_eq!((end.outcome(), end.status()), (Outcome::Cancelled, None));
    assert_eq!((end.head_outcome(), end.has_head()), (None, true));

    let script = Script::of([data("message"), trailers("0")]);
    let (scribe, response) = call_grpc(Response::new(script));
    read(response);
    assert_eq!(
        (scribe.end().head_outcome(), scribe.end().has_head()),
        (None, true)
    );

    let response = Response::builder().header("grpc-status", "5");
    let (scribe, _response) = call_grpc(response.body(Script::default().says_end()).unwrap());
    assert_eq!(scribe.end().head_outcome(), Some(Outcome::ClientError));
}

#[test]
fn the_method_is_the_same_for_both_protocols() {
    use towerkit_core::DescribeRequest;
    let request = grpc();
    assert_eq!(Http::new().method(&request), Some("POST"));
    assert_eq!(towerkit_http::Grpc::new().method(&request), Some("POST"));
}

#[test]
fn over_grpc_trailers_only_end_at_the_head_and_no_code_maps_from_the_status() {
    let response = |status: u16, code: Option<&str>| {
        let mut response = Response::builder().status(status);
        if let Some(code) = code {
            response = response.header("grpc-status", code);
        }
        response.body(Script::default().says_end()).unwrap()
    };
    for (status, code, expected) in [
        (200, Some("7"), 7),
        (503, None, 14),
        (404, None, 12),
        (200, None, 2),
    ] {
        let (scribe, _response) = call_grpc(response(status, code));
        assert_eq!(scribe.end().status(), Some(Status::Grpc(expected)));
    }
}

/// A client must not be able to turn successes into failures, and so to open a breaker.
#[test]
fn an_http_response_to_a_grpc_request_is_read_as_http() {
    let (scribe, response) = call(grpc(), Response::new(Script::of([data("hello")])));
    read(response);
    assert_eq!(scribe.end().outcome(), Outcome::Success);
    assert_eq!(scribe.end().status(), Some(Status::Http(200)));
}

/// A gRPC-Web response without a message has its code in the headers; other codes are in the body, which is not read.
#[test]
fn over_grpc_web_the_outcome_is_that_of_a_code_in_the_head() {
    let web = |content_type: &str, code: Option<&str>| {
        let mut response = Response::builder().header("content-type", content_type);
        if let Some(code) = code {
            response = response.header("grpc-status", code);
        }
        let mut request = grpc();
        let value = "application/grpc-web+proto".parse().unwrap();
        request.headers_mut().insert("content-type", value);
        let (scribe, _response) = call(request, response.body(Script::of([]).says_end()).unwrap());
        assert_eq!(scribe.end().status(), Some(Status::Http(200)));
        scribe.end().outcome()
    };
    for content_type in ["application/grpc-web", "application/grpc-web-text+proto"] {
        assert_eq!(web(content_type, Some("0")), Outcome::Success);
        assert_eq!(web(content_type, Some("14")), Outcome::Overloaded);
        assert_eq!(web(content_type, None), Outcome::Success);
    }
    assert_eq!(web("application/json", Some("14")), Outcome::Success);
}

/// Trailers follow a body of any declared length.
#[test]
fn over_grpc_a_declared_length_is_not_the_end() {
    let script = Script::of([data("message"), trailers("13")]).sized(7);
    let (scribe, response) = call_grpc(Response::new(script));
    read(response);
    assert_eq!(scribe.end().status(), Some(Status::Grpc(13)));
}

#[test]
fn a_rejection_by_an_inner_layer_keeps_its_reason_to_the_end() {
    let rejection = || {
        let mut response = Response::builder()
            .status(503)
            .body(Script::of([data("no")]))
            .unwrap();
        let rejection = Rejection::new(RejectionReason::CircuitOpen, "breaker");
        response.extensions_mut().insert(rejection);
        response
    };
    let (scribe, response) = call(get(), rejection());
    read(response);
    assert_eq!(
        scribe.end().rejection_reason(),
        Some(RejectionReason::CircuitOpen)
    );
    let (scribe, response) = call(get(), rejection());
    drop(response);
    assert_eq!(
        scribe.end().rejection_reason(),
        Some(RejectionReason::CircuitOpen)
    );
}

#[test]
fn functions_name_the_operation_and_classify_the_head() {
    let by_function = |layer: PolicyLayer<_>| {
        let http = Http::new()
            .operation(|head| head.uri.path())
            .classify(|head| {
                if head.status == 200 {
                    Outcome::Overloaded
                } else {
                    Outcome::Success
                }
            });
        layer.protocol(http)
    };
    let (scribe, response) = call_by(by_function, get(), Response::new(Script::of([])));
    read(response);
    assert_eq!(scribe.end().outcome(), Outcome::Overloaded);
}

#[test]
fn only_post_with_the_content_type_of_grpc_is_grpc() {
    use towerkit_core::{DescribeRequest, ProtocolKind};
    let kind = |method: Method, content_type: &str| {
        let request = Request::builder()
            .method(method)
            .header("content-type", content_type);
        Http::new().kind(&request.body(()).unwrap())
    };
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc;x=y",
    ] {
        assert_eq!(kind(Method::POST, content_type), ProtocolKind::Grpc);
        assert_eq!(kind(Method::GET, content_type), ProtocolKind::Http);
    }
    for content_type in [
        "application/grpc-web",
        "application/grpcs",
        "application/json",
    ] {
        assert_eq!(kind(Method::POST, content_type), ProtocolKind::Http);
    }
}
