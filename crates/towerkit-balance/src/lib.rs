//! Load balancing for tower clients: sends each call to one of the instances of a service.
//!
//! Use it in the client of a service that runs in several instances, which a [`Discovery`] keeps up to date. The balancer counts the
//! calls in flight, ejects instances that fail, and sends retries and hedges elsewhere. A call takes a snapshot of the instances,
//! without a lock and without an allocation; there is no background task.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::BodyExt;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use towerkit_balance::{BalanceLayer, RoundRobin};
//! use towerkit_circuitbreaker::CircuitBreakerLayer;
//! use towerkit_core::BoxError;
//! use towerkit_discovery::{Discovery, Instance, InstanceService};
//! use towerkit_http::{HttpExt, OriginLayer};
//! use towerkit_retry::RetryLayer;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! // In place of a client with a connection pool, such as `towerkit_http::client()`.
//! let client = service_fn(|request: Request<String>| async move {
//!     Ok::<_, BoxError>(Response::new(request.uri().to_string()))
//! });
//!
//! let discovery = Discovery::fixed([
//!     Instance::new("10.0.0.7:80".parse()?),
//!     Instance::new("10.0.0.8:80".parse()?),
//! ]);
//! let endpoints = discovery.endpoints(move |instance| {
//!     let origin = OriginLayer::new(format!("http://{}", instance.address)).expect("an address is an authority");
//!     // A breaker for each instance: a call that it rejects goes to another one.
//!     InstanceService::new(ServiceBuilder::new().layer(origin).service(client)).guards(CircuitBreakerLayer::new())
//! });
//! let service = ServiceBuilder::new()
//!     .layer(RetryLayer::new().http())
//!     .layer(BalanceLayer::new(RoundRobin::starting_at(0)).http())
//!     .service(endpoints);
//!
//! for expected in ["http://10.0.0.7:80/sum", "http://10.0.0.8:80/sum"] {
//!     let request = Request::get("/sum").body(String::new())?;
//!     let response = service.clone().oneshot(request).await?;
//!     assert_eq!(response.into_body().collect().await?.to_bytes(), expected);
//! }
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! Add `.http()` or `.grpc()` (`use towerkit_http::HttpExt`), `.rpc()` for endpoints (`use towerkit_endpoint::RpcExt`), or
//! `.plain("operation")` (`use towerkit_core::LayerExt`): the protocol determines which calls have failed and when a call ends, which
//! over HTTP and gRPC is the end of the response body.
//!
//! # Pickers
//!
//! | picker | chooses | weights |
//! |---|---|---|
//! | [`P2c`], the default | the instance with fewer calls in flight of two that are drawn | about, under load |
//! | [`PeakEwma`] | the instance with the lower latency × calls in flight of two that are drawn | about |
//! | [`RoundRobin`] | in turn, exactly | ignored |
//! | [`WeightedRoundRobin`] | in turn, each instance as often as its weight says | exact |
//! | [`Random`] | at random | exact |
//! | [`Maglev`] | by a key of the call, such as a [header](ByHeader) or a [cookie](ByCookie) | exact |
//!
//! [`P2c`] suits most services, [`PeakEwma`] services whose instances differ in latency, [`Maglev`] caches and sessions. An algorithm of
//! your own is a [`Picker`]. An instance of weight 0 gets calls only if all have 0.
//!
//! # Instances that fail
//!
//! A failed call counts as one more call in flight for a while ([`failure_penalty`](BalanceLayer::failure_penalty)), so that an instance
//! that fails at once does not look idle. After five failures in a row an instance is [ejected](OutlierEjection). A failure is a call
//! that counts as [`CountAs::Failure`]; a failure rate, slow calls and rules of your own are those of a circuit breaker among the guards
//! of the instance.
//!
//! # Guards of an instance
//!
//! [`InstanceService::guards`] takes the layers for one instance: a circuit breaker, limits, and observers. The balancer starts them
//! itself, while it still has the request: if one of them rejects the call, it goes to another instance, and the call is rejected only
//! if all instances reject it. A layer *inside* of the service of an instance works, too, but its rejection is the result of the call.
//!
//! # Retries and hedges
//!
//! Place a retry or a hedge outside of the balancer: each attempt goes to an instance to which no attempt of the call has gone, while
//! there is one ([`AttemptedInstances`]). A layer between the two that spawns a task, such as tower's `Buffer`, hides the attempts.
//!
//! # Metrics
//!
//! A [`BalanceHandle`] shows each instance: calls in flight, failures, latency, ejections. The requests and durations of each instance
//! are those of a metrics layer among its guards, with the address as a label, up to the maximum of series of the registry:
//!
//! ```
//! use towerkit_balance::{BalanceLayer, P2c};
//! use towerkit_core::{BoxError, LayerExt};
//! use towerkit_discovery::{Discovery, Instance, InstanceService};
//! use towerkit_metrics::{MetricsLayer, Registry, WithLabels};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let registry = Registry::new();
//! let metrics = registry.clone();
//! let endpoints = Discovery::fixed([Instance::new("10.0.0.7:80".parse()?)]).endpoints(move |instance| {
//!     let labeled = WithLabels::new(metrics.clone()).label("instance", instance.address.to_string());
//!     InstanceService::new(service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) }))
//!         .guards(MetricsLayer::new().registry(labeled))
//! });
//! // Ejections are counted as `towerkit_events_total`.
//! let balance = BalanceLayer::new(P2c::new()).events(registry.clone()).plain("double");
//!
//! assert_eq!(balance.layer(endpoints).oneshot(4).await?, 8);
//! assert!(registry.render().contains(
//!     r#"towerkit_call_duration_seconds_count{instance="10.0.0.7:80",operation="double",outcome="success"} 1"#
//! ));
//! # Ok::<_, BoxError>(()) }).unwrap();
//! ```
//!
//! # Readiness
//!
//! `poll_ready` is always ready: the request decides the instance. In `call` the balancer polls a clone of the service of the instance
//! that is chosen, and passes on to others while it is not ready. If no instance is ready, the call waits for up to three of them, until
//! one is ready, the set changes, or its deadline passes; it does not go to an ejected instance meanwhile. If all that it waits for fail
//! or reject it three times, the last of these results is its own. An instance whose readiness has failed counts as a failed instance,
//! and its service is made anew, at most once a second.
//!
//! # Cancellation
//!
//! A dropped call, or response body, is no longer in flight. It does not count as a failure. If it had no head yet, its time counts as a
//! latency that it exceeded.
//!
//! # Clones
//!
//! Clones of a service share the instances, their state and the turn of the picker. Each service that a layer makes has a state of its
//! own, so make one service for an upstream and clone it. Services over the same [`Endpoints`] share the services and the guards of the
//! instances, and so their connections.
//!
//! # Errors
//!
//! Without instances a call is rejected as [`Unavailable`], at once or after [`max_wait`](BalanceLayer::max_wait). If the deadline of a
//! call passes while it waits, it is rejected as [`DeadlineExceeded`]. If the guards of all instances reject a call, the rejection of
//! one of them is the result; if no service gets ready, the error of one of them. Errors of calls pass unchanged.
//!
//! # Order
//!
//! Place the balancer inside retries, hedges and fallbacks. A timeout may stand outside, for the whole call, or in the service of each
//! instance. Observers outside count calls; those among the guards of an instance count attempts.
//!
//! # Coming from go-kit
//!
//! | go-kit | here |
//! |---|---|
//! | `lb.NewRoundRobin(endpointer)` | `BalanceLayer::new(RoundRobin::new())` |
//! | `lb.NewRandom(endpointer, seed)` | `BalanceLayer::new(Random::new())` |
//! | `lb.Retry(max, timeout, balancer)` | a `RetryLayer` with a budget, outside |
//! | `lb.ErrNoEndpoints` | a rejection as [`Unavailable`] |
//! | `sd.NewEndpointer(instancer, factory)` for each method | [`Endpoints`], once for all operations |
//!
//! [`AttemptedInstances`]: towerkit_core::AttemptedInstances
//! [`CountAs::Failure`]: towerkit_core::CountAs::Failure
//! [`DeadlineExceeded`]: towerkit_core::RejectionReason::DeadlineExceeded
//! [`Discovery`]: towerkit_discovery::Discovery
//! [`Endpoints`]: towerkit_discovery::Endpoints
//! [`InstanceService::guards`]: towerkit_discovery::InstanceService::guards
//! [`Unavailable`]: towerkit_core::RejectionReason::Unavailable

mod alias_table;
mod balancer;
mod by_cookie;
mod config;
mod decay;
mod ejections;
mod future;
mod handle;
mod instance_policy;
mod instance_stats;
mod layer;
#[cfg(all(test, towerkit_loom))]
mod loom_models;
mod maglev;
mod outlier_ejection;
mod p2c;
mod peak_ewma;
mod picker;
mod placement;
mod random;
mod round_robin;
mod schedule;
mod service;
mod snapshot;
mod snapshot_cell;
mod waiting;
mod weighted_round_robin;

use towerkit_core::sync::watched as sync;

pub use by_cookie::ByCookie;
pub use future::BalanceFuture;
pub use handle::{BalanceHandle, BalanceSnapshot, InstanceSnapshot};
pub use instance_policy::InstancePolicy;
pub use layer::BalanceLayer;
pub use maglev::{Maglev, MaglevTable};
pub use outlier_ejection::OutlierEjection;
pub use p2c::{P2c, P2cTable};
pub use peak_ewma::PeakEwma;
pub use picker::{BuildTable, Candidates, Picker};
pub use random::{Random, RandomTable};
pub use round_robin::{RoundRobin, RoundRobinTable};
pub use service::Balance;
pub use towerkit_keyed::{ByHeader, ByText, KeyExtractor};
pub use weighted_round_robin::{TurnTable, WeightedRoundRobin};
