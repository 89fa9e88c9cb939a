//! The peers, each configured as its README says and set so high that no call is rejected.
//!
//! A peer that is no layer stands in a service written by hand that does what its README shows and nothing more.

mod balance;
mod breaker;
mod concurrency;
mod hedge;
mod keyed;
mod limiter;
mod metrics;
mod retry;
mod router;
mod timeout;
mod trace;

pub use balance::TowerBalance;
pub use balance::tower_balance_peak_ewma;
pub use balance::tower_balance_pending;
pub use breaker::FailsafeDefault;
pub use breaker::Reclosed;
pub use breaker::Safe;
pub use breaker::failsafe;
pub use breaker::recloser;
pub use breaker::tower_resilience_breaker;
pub use concurrency::tower_concurrency_limit;
pub use concurrency::tower_resilience_bulkhead;
pub use hedge::tower_hedge;
pub use keyed::KeyGoverned;
pub use keyed::governor_keyed;
pub use limiter::Governed;
pub use limiter::governor;
pub use limiter::governor_monotonic;
pub use limiter::tower_governor;
pub use limiter::tower_rate_limit;
pub use limiter::tower_resilience_limiter;
pub use metrics::axum_prometheus;
pub use retry::tower_resilience_retry;
pub use retry::tower_retry;
pub use router::GovernedRoute;
pub use router::ReclosedRoute;
pub use router::governor_for_routes;
pub use router::recloser_for_routes;
pub use timeout::tower_http_timeout;
pub use timeout::tower_resilience_timeout;
pub use timeout::tower_timeout;
pub use trace::InSpan;
pub use trace::Nowhere;
pub use trace::Spanned;
pub use trace::opentelemetry;
pub use trace::spanned;
pub use trace::tracing_opentelemetry;
