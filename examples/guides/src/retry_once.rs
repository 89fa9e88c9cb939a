use std::pin::Pin;
use std::task::{Context, Poll};

use tower::{Layer, Service, ServiceExt};
use towerkit_core::{Bypass, InspectResult, LayerExt, NoProtocol, Outcome, ReplayRequest};

/// Sends an idempotent request a second time if the first attempt fails.
#[derive(Debug, Clone)]
pub struct RetryOnce<S, P> {
    inner: S,
    protocol: P,
}

impl<S, P, Req> Service<Req> for RetryOnce<S, P>
where
    S: Service<Req, Response: Send, Error: Send, Future: Send> + Clone + Send + 'static,
    P: ReplayRequest<Req, Recorded: Send> + Clone + Send + 'static,
    P::Exchange: InspectResult<S::Response, S::Error> + Send,
    Req: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let (mut inner, protocol) = (self.inner.clone(), self.protocol.clone());
        let exchange = protocol.open(&request, protocol.kind(&request));
        let is_idempotent = protocol.is_idempotent(&request) == Some(true);
        let (attempt, recorded) = protocol.record(request, 65_536);
        let first = self.inner.call(attempt);
        Box::pin(async move {
            let result = first.await;
            let has_failed = exchange.inspect(&result).outcome() == Outcome::Failure;
            let recorded = recorded.filter(|_| is_idempotent && has_failed);
            match recorded.and_then(|recorded| protocol.replay(&recorded)) {
                Some(second) => inner.ready().await?.call(second).await,
                None => result,
            }
        })
    }
}

/// Sends idempotent requests a second time if they fail.
#[derive(Debug, Clone, Default)]
pub struct RetryOnceLayer<P = NoProtocol> {
    protocol: P,
}

impl RetryOnceLayer {
    /// Makes a layer without a protocol.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<P> LayerExt for RetryOnceLayer<P> {
    type Protocol = P;
    type With<Q> = RetryOnceLayer<Q>;

    fn current_protocol(&self) -> &P {
        &self.protocol
    }

    fn protocol<Q>(self, protocol: Q) -> RetryOnceLayer<Q> {
        RetryOnceLayer { protocol }
    }
}

impl<S, P: Clone> Layer<S> for RetryOnceLayer<P> {
    type Service = RetryOnce<S, P>;

    fn layer(&self, inner: S) -> RetryOnce<S, P> {
        let protocol = self.protocol.clone();
        RetryOnce { inner, protocol }
    }
}

/// A boxed future with the output of `F`.
pub type BoxFuture<F> = Pin<Box<dyn Future<Output = <F as Future>::Output> + Send>>;

impl<S, P, Req> Bypass<Req> for RetryOnce<S, P>
where
    S: Service<Req>,
    S::Future: Send + 'static,
    Self: Service<Req, Response = S::Response, Error = S::Error, Future = BoxFuture<S::Future>>,
{
    fn bypass(&mut self, request: Req) -> BoxFuture<S::Future> {
        Box::pin(self.inner.call(request))
    }
}
