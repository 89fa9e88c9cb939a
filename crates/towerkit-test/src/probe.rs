use std::{
    any::Any,
    convert::Infallible,
    error::Error,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;
use tower_service::Service;
use towerkit_core::Failer;

use crate::{CallCounts, ProbeError, call_counts::add};

/// The action of a [`Probe`] on one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Succeeds at the first poll.
    Succeed,
    /// Fails at the first poll; see [`ProbeError::is_failed`].
    Fail,
    /// Fails, as [`Fail`](Self::Fail) does, in the first calls of the probe and its clones, up to this number, and then succeeds.
    FailFirst(u64),
    /// Is pending this many times, wakes itself each time, and then succeeds.
    Pend(u32),
    /// Succeeds after this time.
    Sleep(Duration),
    /// Panics in `call`.
    PanicInCall,
    /// Panics in the first poll of the future.
    PanicInFuture,
    /// Panics in the first poll of the response body, or of the future if there is no body.
    PanicInBody,
    /// Succeeds with a body that panics in [`Body::is_end_stream`] after its first frame.
    PanicInBodyEnd,
    /// Succeeds. The response of a plain service panics in [`Failer::failed`].
    PanicInFailer,
    /// Fails with an error that panics in [`Error::source`].
    PanicInError,
    /// Succeeds with a body that knows its [size](Body::size_hint) and its [end](Body::is_end_stream).
    SizedBody,
    /// Succeeds with a body that has trailers.
    Trailers,
    /// Succeeds, and fails in the middle of the body; see [`ProbeError::is_failed`].
    FailInBody,
}

impl Failer for Action {
    fn failed(&self) -> Option<&(dyn Error + 'static)> {
        assert!(*self != Self::PanicInFailer, "the probe panics in a failer");
        None
    }
}

/// An inner service that acts as each request tells it, and counts its calls.
///
/// A call of an instance that was not polled ready panics, and is counted as a violation.
#[derive(Debug)]
pub struct Probe {
    counts: Arc<CallCounts>,
    is_ready: bool,
    readiness: Readiness,
    waiting: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Clone, Copy)]
enum Readiness {
    AtOnce,
    After(Duration),
    Fails,
}

impl Probe {
    /// Makes a probe that is always ready.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Readiness::AtOnce)
    }

    /// Makes a probe that is ready after this time.
    #[must_use]
    pub fn ready_after(wait: Duration) -> Self {
        Self::with(Readiness::After(wait))
    }

    /// Makes a probe that fails in `poll_ready`; see [`ProbeError::is_unready`].
    #[must_use]
    pub fn never_ready() -> Self {
        Self::with(Readiness::Fails)
    }

    fn with(readiness: Readiness) -> Self {
        Self {
            counts: Arc::default(),
            is_ready: false,
            readiness,
            waiting: None,
        }
    }

    /// Returns the [counts](CallCounts), which all clones share.
    #[must_use]
    pub fn counts(&self) -> Arc<CallCounts> {
        self.counts.clone()
    }

    fn ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        add(&self.counts.polls);
        match self.readiness {
            Readiness::Fails => return Poll::Ready(Err(ProbeError::unready())),
            Readiness::After(wait) => {
                let sleep = || Box::pin(tokio::time::sleep(wait));
                ready!(self.waiting.get_or_insert_with(sleep).as_mut().poll(cx));
            }
            Readiness::AtOnce => {}
        }
        if !self.is_ready {
            self.is_ready = true;
            add(&self.counts.reserved);
        }
        Poll::Ready(Ok(()))
    }

    fn unready(&mut self) {
        if self.is_ready {
            self.is_ready = false;
            self.waiting = None;
            self.counts.reserved.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn start(&mut self, act: Action) -> Running {
        if !self.is_ready {
            add(&self.counts.violations);
            panic!("the probe was called without being ready");
        }
        self.unready();
        let running = Running::new(self.counts.clone(), act);
        assert!(act != Action::PanicInCall, "the probe panics in call");
        running
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        Self {
            counts: self.counts.clone(),
            is_ready: false,
            readiness: self.readiness,
            waiting: None,
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.unready();
    }
}

impl Service<Action> for Probe {
    type Response = Action;
    type Error = ProbeError;
    type Future = ProbeFuture<Action>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.ready(cx)
    }

    fn call(&mut self, act: Action) -> Self::Future {
        ProbeFuture {
            running: Some(self.start(act)),
            respond: |running| {
                assert!(running.act != Action::PanicInBody, "the probe panics");
                running.finish()
            },
        }
    }
}

/// Reads the [`Action`] from the message.
impl Service<towerkit_endpoint::Request<Action>> for Probe {
    type Response = Action;
    type Error = ProbeError;
    type Future = ProbeFuture<Action>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.ready(cx)
    }

    fn call(&mut self, request: towerkit_endpoint::Request<Action>) -> Self::Future {
        Service::<Action>::call(self, request.message)
    }
}

/// Reads the [`Action`] from the extensions of the request, or else from its body.
impl<B: 'static> Service<Request<B>> for Probe {
    type Response = Response<ProbeBody>;
    type Error = ProbeError;
    type Future = ProbeFuture<Response<ProbeBody>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let grpc = request.headers().contains_key("content-type");
        let body: &dyn Any = request.body();
        let act = request.extensions().get().or_else(|| body.downcast_ref());
        ProbeFuture {
            running: Some(self.start(*act.expect("the request says what the probe is to do"))),
            respond: if grpc {
                |running| ProbeBody::respond(running, true)
            } else {
                |running| ProbeBody::respond(running, false)
            },
        }
    }
}

/// An empty request body.
impl Body for Action {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}

/// The future of a [`Probe`].
#[derive(Debug)]
pub struct ProbeFuture<T> {
    running: Option<Running>,
    respond: fn(Running) -> T,
}

impl<T> Future for ProbeFuture<T> {
    type Output = Result<T, ProbeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let running = self.running.as_mut().expect("not polled after completion");
        ready!(running.poll(cx));
        let running = self.running.take().expect("it has just been polled");
        if running.fails {
            let panics = running.act == Action::PanicInError;
            running.finish();
            return Poll::Ready(Err(if panics {
                ProbeError::panics()
            } else {
                ProbeError::failed()
            }));
        }
        Poll::Ready(Ok((self.respond)(running)))
    }
}

/// A call in progress.
#[derive(Debug)]
struct Running {
    counts: Arc<CallCounts>,
    act: Action,
    fails: bool,
    pends: u32,
    sleep: Option<Pin<Box<Sleep>>>,
    is_finished: bool,
}

impl Running {
    fn new(counts: Arc<CallCounts>, act: Action) -> Self {
        let before = add(&counts.started);
        Self {
            counts,
            act,
            fails: match act {
                Action::Fail | Action::PanicInError => true,
                Action::FailFirst(calls) => before < calls,
                _ => false,
            },
            pends: if let Action::Pend(times) = act {
                times
            } else {
                0
            },
            sleep: None,
            is_finished: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        add(&self.counts.polls);
        if let Action::Sleep(wait) = self.act {
            let sleep = || Box::pin(tokio::time::sleep(wait));
            return self.sleep.get_or_insert_with(sleep).as_mut().poll(cx);
        }
        assert!(
            self.act != Action::PanicInFuture,
            "the probe panics in poll"
        );
        if self.pends == 0 {
            return Poll::Ready(());
        }
        self.pends -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn finish(mut self) -> Action {
        self.is_finished = true;
        self.act
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        add(if self.is_finished {
            &self.counts.finished
        } else {
            &self.counts.dropped
        });
    }
}

/// The response body of a [`Probe`]: two frames of data and, over gRPC or with [`Action::Trailers`], trailers. The call ends with
/// the body.
#[derive(Debug)]
pub struct ProbeBody {
    running: Option<Running>,
    act: Action,
    /// The frames in reverse order.
    frames: Vec<Frame<Bytes>>,
}

impl ProbeBody {
    fn respond(running: Running, grpc: bool) -> Response<Self> {
        let act = running.act;
        let mut frames = vec![
            Frame::data(Bytes::from_static(Self::DATA[1])),
            Frame::data(Bytes::from_static(Self::DATA[0])),
        ];
        if let Some(trailers) = Self::trailers(act, grpc) {
            frames.insert(0, Frame::trailers(trailers));
        }
        let mut response = Response::new(Self {
            running: Some(running),
            act,
            frames,
        });
        *response.status_mut() = StatusCode::OK;
        response
    }

    /// The frames of data.
    pub(crate) const DATA: [&[u8]; 2] = [b"hello ", b"world"];

    /// Returns the trailers, over gRPC or with [`Action::Trailers`].
    pub(crate) fn trailers(act: Action, grpc: bool) -> Option<HeaderMap> {
        let mut trailers = HeaderMap::new();
        if grpc {
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
        }
        if act == Action::Trailers {
            trailers.insert("x-probe", HeaderValue::from_static("trailers"));
        }
        (!trailers.is_empty()).then_some(trailers)
    }

    /// Returns true if a frame of data was delivered.
    fn has_begun(&self) -> bool {
        self.frames.iter().filter(|frame| frame.is_data()).count() < Self::DATA.len()
    }
}

impl Body for ProbeBody {
    type Data = Bytes;
    type Error = ProbeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProbeError>>> {
        if let Some(running) = &self.running {
            assert!(
                running.act != Action::PanicInBody,
                "the probe panics in a body"
            );
        }
        if self.act == Action::FailInBody && self.has_begun() {
            self.frames.clear();
            return match self.running.take() {
                Some(running) => {
                    running.finish();
                    Poll::Ready(Some(Err(ProbeError::failed())))
                }
                None => Poll::Ready(None),
            };
        }
        let frame = self.frames.pop();
        if frame.is_none()
            && let Some(running) = self.running.take()
        {
            running.finish();
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        let panics = self.act == Action::PanicInBodyEnd && self.has_begun();
        assert!(!panics, "the probe panics in a body");
        self.act == Action::SizedBody && self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.act != Action::SizedBody {
            return SizeHint::default();
        }
        let left = self
            .frames
            .iter()
            .filter_map(Frame::data_ref)
            .map(Bytes::len);
        SizeHint::with_exact(left.sum::<usize>() as u64)
    }
}
