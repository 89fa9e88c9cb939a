use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};
use towerkit::{
    circuitbreaker::{CircuitBreakerHandle, CircuitBreakerLayer, OpenWhen},
    core::{BoxError, Rejection, RejectionReason},
    hedge::{HedgeHandle, HedgeLayer},
    http::HttpExt,
    ratelimit::{Quota, RateLimitLayer},
    retry::{Budget, RetryHandle, RetryLayer},
    timeout::TimeoutLayer,
};

/// The result of a call, as its caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallResult {
    Served,
    Limited,
    BreakerOpen,
    Failed,
}

/// A layer of the client's stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StackLayer {
    /// Admits a number of calls a second.
    RateLimit,
    /// Repeats failed attempts.
    Retry,
    /// Sends slow calls once more.
    Hedge,
    /// Rejects calls while the upstream fails.
    CircuitBreaker,
    /// Limits the time of one attempt.
    Timeout,
}

impl StackLayer {
    /// All layers, outermost first.
    pub(crate) const ALL: [Self; 5] = [
        Self::RateLimit,
        Self::Retry,
        Self::Hedge,
        Self::CircuitBreaker,
        Self::Timeout,
    ];

    /// Returns the name of the layer, in lower case.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate limit",
            Self::Retry => "retry",
            Self::Hedge => "hedge",
            Self::CircuitBreaker => "circuit breaker",
            Self::Timeout => "timeout",
        }
    }
}

pub(crate) type Get = Request<Full<Bytes>>;

/// Any stack of layers, as one type.
type HttpService = BoxCloneSyncService<Get, Response<UnsyncBoxBody<Bytes, BoxError>>, Error>;

/// A client, and the handles of its layers.
pub(crate) struct Stack {
    pub(crate) service: BoxCloneSyncService<Get, CallResult, Error>,
    pub(crate) retry: RetryHandle,
    pub(crate) hedge: HedgeHandle,
    pub(crate) breaker: CircuitBreakerHandle,
}

impl Stack {
    /// Puts the layers of a client around a connection pool, except for the layer `without`.
    ///
    /// Outermost first: rate limit, retry, hedge, circuit breaker, timeout of one attempt. Retries and hedges share a budget.
    pub(crate) fn new(limit: u32, without: Option<StackLayer>) -> Result<Self, BoxError> {
        let budget = Budget::default();
        let quota = Quota::per_second(limit)?.burst(limit / 10 + 1)?;
        let retry = RetryLayer::new().budget(budget.clone());
        let hedge = HedgeLayer::after(Duration::from_millis(50))?.budget(budget);
        let breaker = CircuitBreakerLayer::new()
            .open_when(OpenWhen::failure_rate(0.5, 50, 20)?)
            .open_for(Duration::from_secs(1))?;
        let timeout = TimeoutLayer::new(Duration::from_millis(200))?;
        let (retries, hedges, breakers) = (retry.handle(), hedge.handle(), breaker.handle());

        let pool: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).build_http();
        let mut service = boxed(pool);
        for layer in StackLayer::ALL.into_iter().rev() {
            if without == Some(layer) {
                continue;
            }
            service = match layer {
                StackLayer::RateLimit => boxed(RateLimitLayer::new(quota).http().layer(service)),
                StackLayer::Retry => boxed(retry.clone().http().layer(service)),
                StackLayer::Hedge => boxed(hedge.clone().http().layer(service)),
                StackLayer::CircuitBreaker => boxed(breaker.clone().http().layer(service)),
                StackLayer::Timeout => boxed(timeout.clone().http().layer(service)),
            };
        }
        // A failed call is a result as well; the pool is always ready.
        let service = service.then(async |result| match result {
            Ok(response) => Ok(call_result(response).await),
            Err(_) => Ok(CallResult::Failed),
        });
        Ok(Self {
            service: BoxCloneSyncService::new(service),
            retry: retries,
            hedge: hedges,
            breaker: breakers,
        })
    }
}

fn boxed<S, B>(service: S) -> HttpService
where
    S: Service<Get, Response = Response<B>, Error = Error> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    BoxCloneSyncService::new(service.map_response(|response: Response<B>| {
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    }))
}

/// Makes a request to the upstream.
pub(crate) fn get(upstream: SocketAddr) -> Get {
    let request = Request::get(format!("http://{upstream}/"));
    request.body(Full::default()).expect("a valid request")
}

async fn call_result<B: Body>(response: Response<B>) -> CallResult {
    let rejected = response.extensions().get().map(Rejection::reason);
    let is_success = response.status().is_success();
    match rejected {
        Some(RejectionReason::RateLimited) => CallResult::Limited,
        Some(RejectionReason::CircuitOpen) => CallResult::BreakerOpen,
        _ if is_success && response.into_body().collect().await.is_ok() => CallResult::Served,
        _ => CallResult::Failed,
    }
}
