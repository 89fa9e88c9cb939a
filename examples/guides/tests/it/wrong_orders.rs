//! The symptom of each wrong order of layers, in the order of `docs/guides/ordering-a-stack.md`.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use tower::{
    Layer, ServiceBuilder, ServiceExt,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PendingRequestsDiscover},
    util::rng::HasherRng,
};
use tower_http::catch_panic::CatchPanicLayer;
use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen, State};
use towerkit_core::{BoxError, CarriesRejection, Clock, LayerExt, stack};
use towerkit_http::HttpExt;
use towerkit_log::{Format, LogLayer};
use towerkit_metrics::{MetricsLayer, Registry};
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_retry::{Budget, RetryLayer};
use towerkit_test::{Action, Probe, run_paused, tokio_clock};
use towerkit_timeout::TimeoutLayer;

const SECOND: Duration = Duration::from_secs(1);

/// Admits one call and rejects the rest, since its time stands still.
fn one_call() -> RateLimitLayer {
    let (clock, _hand) = Clock::manual();
    RateLimitLayer::new(Quota::per_second(1).unwrap()).clock(clock)
}

/// Opens at the third failure in a row.
fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new().open_when(OpenWhen::consecutive_failures(3).unwrap())
}

fn metrics(registry: &Registry) -> MetricsLayer {
    MetricsLayer::new().registry(registry.clone())
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::new(SECOND).unwrap()
}

fn hello() -> Router {
    Router::new().route("/hello/{name}", get(|| async { "hello" }))
}

/// Asks, and reads the answer to its end.
async fn ask(app: &Router, path: &str) -> StatusCode {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status
}

/// Counts the calls in a registry whose labels contain all of these.
fn calls(registry: &Registry, labels: &[&str]) -> u64 {
    let text = registry.render();
    let counts = text
        .lines()
        .filter(|line| line.contains("_duration_seconds_count"));
    counts
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[tokio::test]
async fn metrics_inside_a_limiter_do_not_see_the_rejections() {
    let (right, wrong) = (Registry::new(), Registry::new());
    let outside = hello().layer(stack((metrics(&right), one_call())).axum());
    let inside = hello().layer(stack((one_call(), metrics(&wrong))).axum());
    for app in [outside, inside] {
        assert_eq!(ask(&app, "/hello/Ann").await, 200);
        assert_eq!(ask(&app, "/hello/Ann").await, 429);
    }
    let rejected = [r#"http_response_status_code="429""#];
    assert_eq!(calls(&right, &rejected), 1);
    assert_eq!(calls(&wrong, &rejected), 0);
    assert_eq!(calls(&wrong, &[]), 1);
}

#[test]
fn metrics_inside_a_timeout_see_cancelled_calls_in_place_of_504() {
    run_paused(async {
        let (right, wrong) = (Registry::new(), Registry::new());
        let slow = || Router::new().route("/slow", get(|| tokio::time::sleep(60 * SECOND)));
        let outside = slow().layer(timeout().http()).layer(metrics(&right).axum());
        let inside = slow().layer(metrics(&wrong).axum()).layer(timeout().http());
        assert_eq!(ask(&outside, "/slow").await, 504);
        assert_eq!(ask(&inside, "/slow").await, 504);
        assert_eq!(calls(&right, &[r#"outcome="timed_out""#, r#"="504""#]), 1);
        assert_eq!(calls(&wrong, &[r#"outcome="cancelled""#]), 1);
        assert_eq!(calls(&wrong, &[r#"="504""#]), 0);
    });
}

#[tokio::test]
async fn metrics_inside_catch_panic_know_no_status() {
    async fn broken() {
        panic!("a bug");
    }
    let (right, wrong) = (Registry::new(), Registry::new());
    let app = || Router::new().route("/", get(broken));
    let outside = app()
        .layer(CatchPanicLayer::new())
        .layer(metrics(&right).axum());
    let inside = app()
        .layer(metrics(&wrong).axum())
        .layer(CatchPanicLayer::new());
    assert_eq!(ask(&outside, "/").await, 500);
    assert_eq!(ask(&inside, "/").await, 500);
    let failure = r#"outcome="failure""#;
    assert_eq!(calls(&right, &[failure, r#"status_code="500""#]), 1);
    assert_eq!(calls(&wrong, &[failure, r#"status_code="""#]), 1);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_log_inside_a_limiter_does_not_tell_of_the_rejections() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = towerkit_log::subscriber(Format::Logfmt).writer(move || writer.clone());
    let _logged = tracing::dispatcher::set_default(&subscriber.dispatch());
    let log = |name| LogLayer::new().name(name);
    let outside = hello().layer(stack((log("right"), one_call())).axum());
    let inside = hello().layer(stack((one_call(), log("wrong"))).axum());
    for app in [outside, inside] {
        assert_eq!(ask(&app, "/hello/Ann").await, 200);
        assert_eq!(ask(&app, "/hello/Ann").await, 429);
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let told = |name| text.lines().filter(|line| line.contains(name)).count();
    assert_eq!((told("right"), told("wrong")), (2, 1), "{text}");
}

#[test]
fn a_timeout_outside_a_breaker_hides_the_timeouts_from_it() {
    run_paused(async {
        let (right, wrong) = (breaker(), breaker());
        let (opens, stays_closed) = (right.handle(), wrong.handle());
        let inside = right
            .plain("nap")
            .layer(timeout().plain("nap").layer(Probe::new()));
        let outside = timeout()
            .plain("nap")
            .layer(wrong.plain("nap").layer(Probe::new()));
        for _ in 0..10 {
            let nap = Action::Sleep(60 * SECOND);
            assert!(inside.clone().oneshot(nap).await.is_err());
            assert!(outside.clone().oneshot(nap).await.is_err());
        }
        assert_eq!(opens.state(), State::Open);
        assert_eq!(stays_closed.state(), State::Closed);
        assert_eq!(stays_closed.snapshot().failures, 0);
    });
}

#[tokio::test]
async fn a_limiter_outside_an_open_breaker_spends_tokens_on_calls_that_go_nowhere() {
    let (clock, _hand) = Clock::manual();
    let limit = RateLimitLayer::new(Quota::per_second(100).unwrap()).clock(clock);
    let breaker = breaker();
    let tokens = limit.handle();
    breaker.handle().force_open();
    let right = stack((breaker.clone(), limit.clone()))
        .plain("call")
        .layer(Probe::new());
    let wrong = stack((limit, breaker)).plain("call").layer(Probe::new());
    for _ in 0..50 {
        assert!(right.clone().oneshot(Action::Succeed).await.is_err());
    }
    assert_eq!(tokens.snapshot().available, 100);
    for _ in 0..50 {
        assert!(wrong.clone().oneshot(Action::Succeed).await.is_err());
    }
    assert_eq!(tokens.snapshot().available, 50);
}

/// FIX-10: in go-kit this order opens the breaker.
#[tokio::test]
async fn a_breaker_outside_a_limiter_does_not_take_rejections_for_failures() {
    let (over_http, over_plain) = (breaker(), breaker());
    let handles = [over_http.handle(), over_plain.handle()];
    let http = over_http
        .http()
        .layer(one_call().http().layer(Probe::new()));
    let plain = one_call().plain("call").layer(Probe::new());
    let plain = over_plain.plain("call").layer(plain);
    for n in 0..10 {
        let response = http.clone().oneshot(Request::new(Action::Succeed)).await;
        assert_eq!(response.unwrap().status() == 429, n > 0);
        let result = plain.clone().oneshot(Action::Succeed).await;
        assert_eq!(
            result.is_err_and(|error| error.rejection().is_some()),
            n > 0
        );
    }
    for handle in handles {
        assert_eq!(handle.state(), State::Closed);
        assert_eq!(handle.snapshot().failures, 0);
    }
}

#[tokio::test]
async fn health_inside_the_limiter_is_rejected_when_it_matters() {
    let health = || Router::new().route("/healthz", get(|| async { "ok" }));
    let right = hello().layer(one_call().http()).merge(health());
    let wrong = hello().merge(health()).layer(one_call().http());
    for app in [&right, &wrong] {
        assert_eq!(ask(app, "/hello/Ann").await, 200);
    }
    assert_eq!(ask(&right, "/healthz").await, 200);
    assert_eq!(ask(&wrong, "/healthz").await, 429);
}

#[tokio::test]
async fn a_layer_around_the_router_knows_no_routes() {
    let (right, wrong) = (Registry::new(), Registry::new());
    let inside = hello().layer(metrics(&right).axum());
    let around = metrics(&wrong).axum().layer(hello());
    assert_eq!(ask(&inside, "/hello/Ann").await, 200);
    let request = Request::get("/hello/Ann").body(Body::empty()).unwrap();
    let response = around.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert_eq!(calls(&right, &[r#"http_route="/hello/{name}""#]), 1);
    assert_eq!(calls(&wrong, &[r#"http_route="unmatched""#]), 1);
}

/// The order of `ServiceBuilder` and of `stack((..))`, and the other way around in `Router::layer`.
#[tokio::test]
async fn the_last_layer_of_a_router_is_outermost_and_the_first_of_a_builder() {
    let (by_router, by_builder) = (Registry::new(), Registry::new());
    let router = hello()
        .layer(metrics(&by_router).axum())
        .layer(one_call().http());
    let builder = hello().layer(
        ServiceBuilder::new()
            .layer(metrics(&by_builder).axum())
            .layer(one_call().http()),
    );
    for app in [router, builder] {
        assert_eq!(ask(&app, "/hello/Ann").await, 200);
        assert_eq!(ask(&app, "/hello/Ann").await, 429);
    }
    assert_eq!(calls(&by_router, &[r#"="429""#]), 0);
    assert_eq!(calls(&by_builder, &[r#"="429""#]), 1);
}

/// A request as a retry sends it.
type Sent = Request<Empty<Bytes>>;

/// Makes 1,000 idempotent calls, one after the other, of two instances of which one is dead, and returns how many failed.
///
/// Outermost first: a retry of three attempts, tower's balancer (p2c by the calls in flight), and for each instance a breaker.
fn failed_of_1_000(breaker: impl Fn() -> CircuitBreakerLayer) -> usize {
    run_paused(async {
        let instance = |is_dead: bool| {
            let transport = tower::service_fn(move |_: Sent| async move {
                if is_dead {
                    return Err(BoxError::from(io::Error::from(
                        io::ErrorKind::ConnectionRefused,
                    )));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(http::Response::new(Empty::<Bytes>::new()))
            });
            breaker().clock(tokio_clock()).http().layer(transport)
        };
        let instances = ServiceList::new::<Sent>([instance(true), instance(false)]);
        let loads = PendingRequestsDiscover::new(instances, CompleteOnResponse::default());
        let random = HasherRng::with_hasher(BuildHasherDefault::<DefaultHasher>::default());
        let balance = Balance::from_rng(loads, random);
        let budget = Budget::new(1.0, 1_000).unwrap().clock(tokio_clock());
        let client = RetryLayer::new()
            .budget(budget)
            .http()
            .layer(Buffer::new(balance, 1));

        let mut failed = 0;
        for _ in 0..1_000 {
            let request = Request::get("/stock").body(Empty::<Bytes>::new()).unwrap();
            let answer = client.clone().oneshot(request).await;
            failed += usize::from(!answer.is_ok_and(|answer| answer.status() == 200));
        }
        failed
    })
}

#[test]
fn a_breaker_that_rejects_draws_the_calls_of_a_balancer() {
    let never = OpenWhen::consecutive_failures(u32::MAX).unwrap();
    let without = failed_of_1_000(|| CircuitBreakerLayer::new().open_when(never));
    assert!(
        (80..=170).contains(&without),
        "{without} with breakers that never open"
    );
    let rejecting = failed_of_1_000(CircuitBreakerLayer::new);
    assert!(rejecting > 400, "{rejecting} with breakers that reject");
    let waiting = failed_of_1_000(|| CircuitBreakerLayer::new().backpressure());
    assert!(waiting <= 20, "{waiting} with breakers that wait");
}
