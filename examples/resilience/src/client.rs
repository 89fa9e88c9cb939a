use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use towerkit::{
    circuitbreaker::{CircuitBreakerLayer, OpenWhen},
    core::{BoxError, Rejection, RejectionReason},
    hedge::{HedgeHandle, HedgeLayer},
    http::HttpExt,
    ratelimit::{Quota, RateLimitLayer},
    retry::{Budget, RetryHandle, RetryLayer},
    timeout::TimeoutLayer,
};

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Served,
    Limited,
    Open,
    Failed,
}

pub(crate) type Get = Request<Full<Bytes>>;

/// A client, and what its layers let see of themselves.
pub(crate) struct Stack {
    pub(crate) service: BoxCloneSyncService<Get, Fate, Error>,
    pub(crate) retry: RetryHandle,
    pub(crate) hedge: HedgeHandle,
}

impl Stack {
    /// Puts the layers of a client around a connection pool.
    ///
    /// Outermost first: rate limit, retry, hedge, circuit breaker, timeout of one attempt. Retries and hedges share a budget.
    pub(crate) fn new(limit: u32) -> Result<Self, BoxError> {
        let budget = Budget::default();
        let quota = Quota::per_second(limit)?.burst(limit / 10 + 1)?;
        let retry = RetryLayer::new().budget(budget.clone());
        let hedge = HedgeLayer::after(Duration::from_millis(50))?.budget(budget);
        let breaker = CircuitBreakerLayer::new()
            .open_when(OpenWhen::failure_rate(0.5, 50, 20)?)
            .open_for(Duration::from_secs(1))?;
        let pool: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).build_http();
        let (retries, hedges) = (retry.handle(), hedge.handle());
        let service = ServiceBuilder::new()
            .layer(RateLimitLayer::new(quota).http())
            .layer(retry.http())
            .layer(hedge.http())
            .layer(breaker.http())
            .layer(TimeoutLayer::new(Duration::from_millis(200))?.http())
            .service(pool);
        // A call that failed has its fate as well; an error of its own is only that the pool is no longer there.
        let service = service.then(async |result| match result {
            Ok(response) => Ok(fate(response).await),
            Err(_) => Ok(Fate::Failed),
        });
        Ok(Self {
            service: BoxCloneSyncService::new(service),
            retry: retries,
            hedge: hedges,
        })
    }
}

/// Makes a request of the upstream.
pub(crate) fn get(upstream: SocketAddr) -> Get {
    let request = Request::get(format!("http://{upstream}/"));
    request.body(Full::default()).expect("a valid request")
}

async fn fate<B: Body>(response: Response<B>) -> Fate {
    let rejected = response.extensions().get().map(Rejection::reason);
    let is_served = response.status().is_success();
    match rejected {
        Some(RejectionReason::RateLimited) => Fate::Limited,
        Some(RejectionReason::CircuitOpen) => Fate::Open,
        _ if is_served && response.into_body().collect().await.is_ok() => Fate::Served,
        _ => Fate::Failed,
    }
}
