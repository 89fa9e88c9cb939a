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
    BoxError, Bypass, ConfigError, InspectResult, LayerExt, LayerState, Name, NoProtocol, Protocol,
    ProtocolKind, Rejection, RejectionReason, StateHandle,
};

use crate::body_timer::{BodyLimits, BodyTimer, Exceeded};

/// Ends response bodies that stall, or that take too long as a whole.
///
/// The idle time limits the wait for each frame. The total time limits the body from the head of the response to its end, and is never
/// longer than the time left until the request's [`Deadline`](towerkit_core::Deadline). Time in which the reader does not poll the body
/// is not idle time, but counts to the total. A body that is never pending costs no timer.
///
/// A body that times out ends with the error [`BodyTimedOut`], so that a server closes the connection and no reader takes the truncated
/// body for a complete one. Over gRPC it ends with `DEADLINE_EXCEEDED` in its trailers.
///
/// # Readiness
///
/// `poll_ready` forwards to the inner service.
///
/// # Cancellation
///
/// When a body times out, the inner body is dropped before the reader gets the error. Outer layers record a timeout, inner layers a
/// dropped body: put this layer inside log, metrics and breakers.
#[derive(Debug, Clone)]
pub struct BodyTimeoutLayer<P = NoProtocol> {
    name: Name,
    limits: LayerState<Arc<Limits>>,
    protocol: P,
}

impl BodyTimeoutLayer {
    /// Limits the wait for each frame to `idle`, without a total time.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `idle` is zero or longer than 365 days.
    pub fn new(idle: Duration) -> Result<Self, ConfigError> {
        Ok(Self {
            name: Name::new("body-timeout"),
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
    /// Returns a [`ConfigError`] if `total` is zero or longer than 365 days.
    pub fn total(mut self, total: Duration) -> Result<Self, ConfigError> {
        let idle = self.limits.get().idle();
        self.limits.replace(Limits::new(idle, Some(total))?);
        Ok(self)
    }

    /// Names this layer in errors; `body-timeout` by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
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
            name: self.name.clone(),
            limits: self.limits.share(),
            protocol: self.protocol.clone(),
        }
    }
}

/// The limits of all bodies, in nanoseconds; a total of 0 means no limit.
#[derive(Debug, Default)]
struct Limits {
    idle: AtomicU64,
    total: AtomicU64,
}

// Relaxed: each word guards no other data.
impl Limits {
    fn new(idle: Duration, total: Option<Duration>) -> Result<Arc<Self>, ConfigError> {
        let limits = Self::default();
        limits.set_idle(idle)?;
        limits.set_total(total)?;
        Ok(Arc::new(limits))
    }

    fn idle(&self) -> Duration {
        Duration::from_nanos(self.idle.load(Ordering::Relaxed))
    }

    fn total(&self) -> Option<Duration> {
        let total = self.total.load(Ordering::Relaxed);
        (total > 0).then(|| Duration::from_nanos(total))
    }

    fn set_idle(&self, idle: Duration) -> Result<(), ConfigError> {
        let idle = ConfigError::check_duration("idle", idle)?;
        self.idle.store(idle, Ordering::Relaxed);
        Ok(())
    }

    fn set_total(&self, total: Option<Duration>) -> Result<(), ConfigError> {
        let total = total.map_or(Ok(0), |total| ConfigError::check_duration("total", total))?;
        self.total.store(total, Ordering::Relaxed);
        Ok(())
    }
}

/// Reads and changes the limits of a [`BodyTimeoutLayer`] at run time.
#[derive(Debug, Clone)]
pub struct BodyTimeoutHandle(StateHandle<Arc<Limits>>);

/// The limits of a [`BodyTimeoutLayer`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyTimeoutSnapshot {
    /// The longest wait for a frame.
    pub idle: Duration,
    /// The longest time from the head to the end of a body, if there is a limit.
    pub total: Option<Duration>,
}

impl BodyTimeoutHandle {
    /// Returns the limits.
    #[must_use]
    pub fn snapshot(&self) -> BodyTimeoutSnapshot {
        let limits = self.0.get();
        BodyTimeoutSnapshot {
            idle: limits.idle(),
            total: limits.total(),
        }
    }

    /// Sets the idle time of bodies that start from now on.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`], and keeps the old limit, if `idle` is zero or longer than 365 days.
    pub fn set_idle(&self, idle: Duration) -> Result<(), ConfigError> {
        self.0.get().set_idle(idle)
    }

    /// Sets the total time of bodies that start from now on.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`], and keeps the old limit, if `total` is zero or longer than 365 days.
    pub fn set_total(&self, total: Option<Duration>) -> Result<(), ConfigError> {
        self.0.get().set_total(total)
    }
}

/// A service behind a [`BodyTimeoutLayer`].
#[derive(Debug, Clone)]
pub struct BodyTimeout<S, P = NoProtocol> {
    inner: S,
    name: Name,
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
            limits: Some((limits, self.name.clone())),
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
    /// The limits of the body, and the name in its error.
    limits: Option<(BodyLimits, Name)>,
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
        // A gRPC head without a status has the status in its trailers.
        let has_trailers = *me.is_grpc && me.exchange.inspect(&result).status().is_none();
        let timer = me
            .limits
            .take()
            .map(|(limits, name)| (limits.start(), name));
        Poll::Ready(result.map(|response| {
            response.map(|body| TimeoutBody {
                inner: Some(body),
                timer,
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
    /// `None` once the body has timed out.
    #[pin]
    inner: Option<B>,
    /// The timer, and the name in the error.
    timer: Option<(BodyTimer, Name)>,
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
        let Some((timer, name)) = me.timer else {
            return polled.map_err(Into::into);
        };
        let exceeded = match polled {
            Poll::Pending => ready!(timer.poll(cx)),
            Poll::Ready(Some(Ok(frame))) if frame.is_data() && timer.is_past_end() => {
                Exceeded::Total
            }
            Poll::Ready(frame) => {
                timer.progressed();
                return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
            }
        };
        me.inner.set(None);
        Poll::Ready(Some(if *me.has_trailers {
            Ok(Frame::trailers(deadline_exceeded()))
        } else {
            Err(Box::new(BodyTimedOut::new(name.clone(), exceeded)))
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

/// Returns the trailers of a gRPC call that timed out.
fn deadline_exceeded() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert("grpc-status", HeaderValue::from_static("4"));
    let message = HeaderValue::from_static(RejectionReason::DeadlineExceeded.message());
    trailers.insert("grpc-message", message);
    trailers
}

/// The error of a response body that timed out.
///
/// Its source is a [`Rejection`], from which outer layers recognise the timeout.
#[derive(Debug, Clone)]
pub struct BodyTimedOut {
    exceeded: Exceeded,
    rejection: Rejection,
}

impl BodyTimedOut {
    fn new(name: Name, exceeded: Exceeded) -> Self {
        Self {
            exceeded,
            rejection: Rejection::new(RejectionReason::DeadlineExceeded, name),
        }
    }
}

impl fmt::Display for BodyTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self.exceeded {
            Exceeded::Idle => "the body exceeded its idle time",
            Exceeded::Total => "the body exceeded its total time",
        };
        write!(f, "{}: {message}", self.rejection.layer())
    }
}

impl Error for BodyTimedOut {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.rejection)
    }
}
