//! Timeouts of response bodies.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use towerkit_core::{
    BoxError, Bypass, InspectResult, LayerExt, LayerState, NoProtocol, Protocol, ProtocolKind,
    Rejection, RejectionReason, StateHandle,
};

use crate::{
    InvalidTimeout,
    body_timer::{BodyLimits, BodyTimer, Exceeded},
};

/// Ends response bodies that stall, or that take too long as a whole.
///
/// The idle time is how long a body may let its reader wait for the next frame. The total time runs from the head to the end of the
/// body; it is never longer than what is left of the request's
/// [`Deadline`](towerkit_core::Deadline). Time in which nobody reads is not idle, but counts to
/// the total. A body that never lets its reader wait makes no timer.
///
/// A body whose time is up ends with a [`BodyTimedOut`], so that a server cuts the connection and no reader takes a part for the
/// whole. Over gRPC it ends with trailers that say `DEADLINE_EXCEEDED`.
///
/// # Readiness
///
/// Is the inner service's.
///
/// # Cancellation
///
/// When the time is up the inner body is dropped before its reader hears of it. Layers inside see a body that was dropped, layers
/// outside one that timed out: put it inside of logs, metrics and breakers.
#[derive(Debug, Clone)]
pub struct BodyTimeoutLayer<P = NoProtocol> {
    name: &'static str,
    limits: LayerState<Arc<Limits>>,
    protocol: P,
}

impl BodyTimeoutLayer {
    /// Lets bodies be idle for `idle`, and take as long as they like.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a year.
    pub fn new(idle: Duration) -> Result<Self, InvalidTimeout> {
        Ok(Self {
            name: "body-timeout",
            limits: LayerState::new(Limits::new(idle, None)?),
            protocol: NoProtocol::default(),
        })
    }
}

impl<P> BodyTimeoutLayer<P> {
    /// Limits the time from the head to the end of a body; no limit by default.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a year.
    pub fn total(mut self, total: Duration) -> Result<Self, InvalidTimeout> {
        let idle = self.limits.get().idle();
        self.limits.replace(Limits::new(idle, Some(total))?);
        Ok(self)
    }

    /// Names this timeout in errors; `body-timeout` by default.
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Returns a handle on the limits, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> BodyTimeoutHandle {
        BodyTimeoutHandle(self.limits.handle())
    }
}

impl<P> LayerExt for BodyTimeoutLayer<P> {
    type Protocol = P;
    type With<Q> = BodyTimeoutLayer<Q>;

    fn current_protocol(&self) -> &P {
        &self.protocol
    }

    fn protocol<Q>(self, protocol: Q) -> BodyTimeoutLayer<Q> {
        BodyTimeoutLayer {
            name: self.name,
            limits: self.limits,
            protocol,
        }
    }
}

impl<S, P: Clone> Layer<S> for BodyTimeoutLayer<P> {
    type Service = BodyTimeout<S, P>;

    fn layer(&self, inner: S) -> BodyTimeout<S, P> {
        BodyTimeout {
            inner,
            name: self.name,
            limits: self.limits.share(),
            protocol: self.protocol.clone(),
        }
    }
}

/// Reads and changes the limits on bodies while they run.
#[derive(Debug, Clone)]
pub struct BodyTimeoutHandle(StateHandle<Arc<Limits>>);

/// Nanoseconds; a total of 0 is none.
#[derive(Debug, Default)]
struct Limits {
    idle: AtomicU64,
    total: AtomicU64,
}

// Relaxed: either word guards nothing but itself.
impl Limits {
    fn new(idle: Duration, total: Option<Duration>) -> Result<Arc<Self>, InvalidTimeout> {
        let limits = Self::default();
        limits.change_idle(idle)?;
        limits.change_total(total)?;
        Ok(Arc::new(limits))
    }

    fn idle(&self) -> Duration {
        Duration::from_nanos(self.idle.load(Ordering::Relaxed))
    }

    fn total(&self) -> Option<Duration> {
        let total = self.total.load(Ordering::Relaxed);
        (total > 0).then(|| Duration::from_nanos(total))
    }

    fn change_idle(&self, idle: Duration) -> Result<(), InvalidTimeout> {
        let idle = InvalidTimeout::check(idle)?;
        self.idle.store(idle, Ordering::Relaxed);
        Ok(())
    }

    fn change_total(&self, total: Option<Duration>) -> Result<(), InvalidTimeout> {
        let total = total.map_or(Ok(0), InvalidTimeout::check)?;
        self.total.store(total, Ordering::Relaxed);
        Ok(())
    }
}

impl BodyTimeoutHandle {
    /// Returns how long a body may be idle.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.0.get().idle()
    }

    /// Returns how long a whole body may take, if there is a limit.
    #[must_use]
    pub fn total(&self) -> Option<Duration> {
        self.0.get().total()
    }

    /// Lets bodies that start from now on be idle for `idle`.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a year; the old one stays then.
    pub fn change_idle(&self, idle: Duration) -> Result<(), InvalidTimeout> {
        self.0.get().change_idle(idle)
    }

    /// Limits the time of bodies that start from now on.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a year; the old limit stays then.
    pub fn change_total(&self, total: Option<Duration>) -> Result<(), InvalidTimeout> {
        self.0.get().change_total(total)
    }
}

/// A service behind a [`BodyTimeoutLayer`].
#[derive(Debug, Clone)]
pub struct BodyTimeout<S, P = NoProtocol> {
    inner: S,
    name: &'static str,
    limits: Arc<Limits>,
    protocol: P,
}

impl<S, P, A, B> Service<Request<A>> for BodyTimeout<S, P>
where
    S: Service<Request<A>, Response = Response<B>>,
    P: Protocol<Request<A>>,
    P::Exchange: InspectResult<Response<B>, S::Error>,
{
    type Response = Response<TimeoutBody<B>>;
    type Error = S::Error;
    type Future = BodyTimeoutFuture<S::Future, P::Exchange>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let protocol = &self.protocol;
        let kind = protocol.kind(&request);
        let limits = BodyLimits {
            idle: self.limits.idle(),
            total: self.limits.total(),
            deadline: protocol.deadline(&request),
        };
        BodyTimeoutFuture {
            exchange: protocol.open(&request, kind),
            is_grpc: kind == ProtocolKind::Grpc,
            name: self.name,
            limits: Some(limits),
            inner: self.inner.call(request),
        }
    }
}

impl<S, P, A, B> Bypass<Request<A>> for BodyTimeout<S, P>
where
    S: Service<Request<A>, Response = Response<B>>,
    P: Protocol<Request<A>>,
    P::Exchange: InspectResult<Response<B>, S::Error>,
{
    fn bypass(&mut self, request: Request<A>) -> Self::Future {
        let protocol = &self.protocol;
        let kind = protocol.kind(&request);
        BodyTimeoutFuture {
            exchange: protocol.open(&request, kind),
            is_grpc: kind == ProtocolKind::Grpc,
            name: self.name,
            limits: None,
            inner: self.inner.call(request),
        }
    }
}

/// The future of a [`BodyTimeout`].
#[pin_project]
pub struct BodyTimeoutFuture<F, X> {
    #[pin]
    inner: F,
    exchange: X,
    is_grpc: bool,
    name: &'static str,
    limits: Option<BodyLimits>,
}

impl<F, X, B, E> Future for BodyTimeoutFuture<F, X>
where
    F: Future<Output = Result<Response<B>, E>>,
    X: InspectResult<Response<B>, E>,
{
    type Output = Result<Response<TimeoutBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        let result = ready!(me.inner.poll(cx));
        // A gRPC response that has no status yet has it in its trailers.
        let has_trailers = *me.is_grpc && me.exchange.inspect(&result).status().is_none();
        let timer = me.limits.as_ref().map(BodyLimits::start);
        Poll::Ready(result.map(|response| {
            response.map(|body| TimeoutBody {
                inner: Some(body),
                timer,
                name: me.name,
                has_trailers,
            })
        }))
    }
}

impl<F, X> fmt::Debug for BodyTimeoutFuture<F, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyTimeoutFuture").finish_non_exhaustive()
    }
}

/// The response body of a [`BodyTimeout`].
#[derive(Debug)]
#[pin_project]
pub struct TimeoutBody<B> {
    /// `None` once the time is up.
    #[pin]
    inner: Option<B>,
    timer: Option<BodyTimer>,
    name: &'static str,
    has_trailers: bool,
}

impl<B: Body<Error: Into<BoxError>>> Body for TimeoutBody<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut me = self.project();
        let Some(body) = me.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let polled = body.poll_frame(cx);
        let exceeded = match (polled, me.timer) {
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Pending, Some(timer)) => ready!(timer.poll(cx)),
            (Poll::Ready(Some(Ok(frame))), Some(timer))
                if frame.is_data() && timer.is_past_end() =>
            {
                Exceeded::Total
            }
            (Poll::Ready(frame), timer) => {
                if let Some(timer) = timer {
                    timer.progressed();
                }
                return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
            }
        };
        me.inner.set(None);
        Poll::Ready(Some(if *me.has_trailers {
            Ok(Frame::trailers(deadline_exceeded()))
        } else {
            Err(Box::new(BodyTimedOut::new(me.name, exceeded)))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// The trailers of a gRPC call that took too long.
fn deadline_exceeded() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert("grpc-status", HeaderValue::from_static("4"));
    let message = HeaderValue::from_static(RejectionReason::DeadlineExceeded.message());
    trailers.insert("grpc-message", message);
    trailers
}

/// A response body that took too long; what it carries is a [`Rejection`], by which layers outside know that the call timed out.
#[derive(Debug, Clone)]
pub struct BodyTimedOut {
    exceeded: Exceeded,
    rejection: Rejection,
}

impl BodyTimedOut {
    fn new(name: &'static str, exceeded: Exceeded) -> Self {
        Self {
            exceeded,
            rejection: Rejection::new(RejectionReason::DeadlineExceeded, name),
        }
    }
}

impl fmt::Display for BodyTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.exceeded {
            Exceeded::Idle => "the body was idle too long",
            Exceeded::Total => "the body took too long",
        };
        write!(f, "{}: {what}", self.rejection.layer())
    }
}

impl Error for BodyTimedOut {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.rejection)
    }
}
