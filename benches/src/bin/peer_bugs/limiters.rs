use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, Response};
use tokio::{runtime::Handle, time::sleep_until};
use tower::{Layer, Service, ServiceExt, limit::RateLimitLayer as TowerRateLimit};
use tower_governor::{
    GovernorLayer, governor::GovernorConfigBuilder, key_extractor::GlobalKeyExtractor,
};
use tower_resilience_ratelimiter::RateLimiterLayer;
use towerkit_benches::Ready;
use towerkit_core::{CarriesRejection, Clock};
use towerkit_http::HttpExt;
use towerkit_ratelimit::{Quota, RateLimitLayer};

use crate::Bug;

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn bugs() -> Vec<Bug> {
    vec![
        tower_double_burst(),
        tower_resilience_double_burst(),
        no_wait_in_the_rejection(),
        retry_after_zero(),
        a_second_is_not_a_second(),
    ]
}

/// A call opens the window, nine come at its end, and ten when the next one begins.
fn tower_double_burst() -> Bug {
    let mut service =
        Handle::current().block_on(async { TowerRateLimit::new(10, SECOND).layer(plain()) });
    Bug {
        id: "RL-01",
        peer: "tower",
        what: "10 a second: most calls in 11 ms",
        expected: "at most 10",
        observed: Handle::current().block_on(bunched(&mut service)),
        ours: bunched_by_hand(),
    }
}

fn tower_resilience_double_burst() -> Bug {
    let layer = RateLimiterLayer::builder()
        .limit_for_period(10)
        .refresh_period(SECOND)
        .timeout_duration(Duration::ZERO)
        .build()
        .expect("a valid configuration");
    let mut service = layer.layer(plain());
    Bug {
        id: "RL-01",
        peer: "tower-resilience-ratelimiter",
        what: "10 a second, the default window: most calls in 11 ms",
        expected: "at most 10",
        observed: Handle::current().block_on(bunched(&mut service)),
        ours: bunched_by_hand(),
    }
}

/// Makes one call, nine more just before a second is over, and ten just after; those that were admitted, and in what time.
async fn bunched<S: Service<u64, Response = u64>>(service: &mut S) -> String {
    let start = tokio::time::Instant::now();
    let mut admitted = Vec::new();
    for (calls, at) in [(1, 0), (9, 992), (10, 1001)] {
        sleep_until(start + Duration::from_millis(at)).await;
        for _ in 0..calls {
            let Ok(service) = service.ready().await else {
                continue;
            };
            if service.call(0).await.is_ok() {
                admitted.push(Instant::now());
            }
        }
    }
    let time = admitted[admitted.len() - 1] - admitted[1];
    format!(
        "{} in {:.0} ms",
        admitted.len() - 1,
        time.as_secs_f64() * 1e3
    )
}

/// The same schedule by hand, with twice as many attempts at its end.
fn bunched_by_hand() -> String {
    let (clock, clock_control) = Clock::manual();
    let quota = Quota::per_second(10).expect("a valid quota");
    let mut service = RateLimitLayer::new(quota).clock(clock).layer(plain());
    let mut call = || Handle::current().block_on(service.call(0_u64)).is_ok();
    call();
    clock_control.advance(Duration::from_millis(990));
    let before = (0..9).filter(|_| call()).count();
    clock_control.advance(Duration::from_millis(11));
    let after = (0..10).filter(|_| call()).count();
    format!("{} in 11 ms", before + after)
}

/// The error of a rejected call is to say when to come back.
fn no_wait_in_the_rejection() -> Bug {
    let layer = RateLimiterLayer::builder()
        .limit_for_period(1)
        .refresh_period(SECOND)
        .timeout_duration(Duration::ZERO)
        .build()
        .expect("a valid configuration");
    let mut service = layer.layer(plain());
    let error = Handle::current().block_on(async {
        let _ = service.call(0_u64).await;
        service.call(0).await.expect_err("rejected")
    });
    Bug {
        id: "RL-03",
        peer: "tower-resilience-ratelimiter",
        what: "1 a second, the second call is rejected: the wait in its error",
        expected: "about 1s",
        observed: format!("none: `{error:?}`"),
        ours: wait_in_our_rejection(),
    }
}

fn wait_in_our_rejection() -> String {
    let (clock, _hand) = Clock::manual();
    let quota = Quota::per_second(1).expect("a valid quota");
    let layer = RateLimitLayer::new(quota).clock(clock);
    let mut service = layer.layer(plain());
    let error = Handle::current().block_on(async {
        let _ = service.call(0_u64).await;
        service.call(0).await.expect_err("rejected")
    });
    let wait = error
        .rejection()
        .and_then(towerkit_core::Rejection::retry_after);
    format!("{:?}", wait.unwrap_or_default())
}

/// A token every 800 ms: what the rejected caller is told to wait.
fn retry_after_zero() -> Bug {
    let layer = tower_governor(Duration::from_millis(800));
    let quota = Quota::new(1, Duration::from_millis(800)).expect("a valid quota");
    Bug {
        id: "RL-13, RL-19",
        peer: "tower_governor",
        what: "1 in 800 ms: `Retry-After`, and what becomes of a call after exactly that",
        expected: "1, admitted",
        observed: told(layer.layer(Ready::<Body>::new())),
        ours: told(
            RateLimitLayer::new(quota)
                .http()
                .layer(Ready::<Body>::new()),
        ),
    }
}

/// Calls until it is rejected, and once more when it was told to.
fn told<S, B>(mut service: S) -> String
where
    S: Service<Request<Full>, Response = Response<B>>,
{
    let mut call = || {
        let Ok(response) = Handle::current().block_on(service.call(Request::default())) else {
            unreachable!("the inner service never fails");
        };
        response
    };
    let rejected = loop {
        let response = call();
        if response.status() == 429 {
            break response;
        }
    };
    let wait = rejected.headers()["retry-after"]
        .to_str()
        .unwrap_or_default();
    std::thread::sleep(SECOND * wait.parse().unwrap_or_default());
    let then = if call().status() == 429 {
        "rejected"
    } else {
        "admitted"
    };
    format!("{wait}, {then}")
}

type Full = http_body_util::Full<bytes::Bytes>;

fn plain() -> Ready {
    Ready::new()
}

/// `per_second` names a rate in every other crate.
fn a_second_is_not_a_second() -> Bug {
    let config = GovernorConfigBuilder::default()
        .per_second(5)
        .burst_size(1)
        .key_extractor(GlobalKeyExtractor)
        .finish()
        .expect("a valid configuration");
    let mut service = GovernorLayer::new(config).layer(Ready::<Body>::new());
    let ours = Quota::per_second(5).and_then(|quota| quota.burst(1));
    let ours = RateLimitLayer::new(ours.expect("a valid quota")).http();
    let mut ours = ours.layer(Ready::<Body>::new());
    Bug {
        id: "RL-02",
        peer: "tower_governor",
        what: "`per_second(5)`, burst 1: calls admitted in one second",
        expected: "6",
        observed: admitted_in_a_second(&mut service),
        ours: admitted_in_a_second(&mut ours),
    }
}

fn admitted_in_a_second<S, B>(service: &mut S) -> String
where
    S: Service<Request<Full>, Response = Response<B>>,
{
    let start = Instant::now();
    let mut admitted = 0;
    while start.elapsed() <= SECOND + Duration::from_millis(10) {
        let answer = Handle::current().block_on(service.call(Request::default()));
        admitted += u32::from(answer.is_ok_and(|response| response.status() == 200));
        std::thread::sleep(Duration::from_millis(1));
    }
    admitted.to_string()
}

fn tower_governor(
    period: Duration,
) -> GovernorLayer<
    GlobalKeyExtractor,
    governor::middleware::NoOpMiddleware<governor::clock::QuantaInstant>,
    Body,
> {
    let config = GovernorConfigBuilder::default()
        .period(period)
        .burst_size(1)
        .key_extractor(GlobalKeyExtractor)
        .finish()
        .expect("a valid configuration");
    GovernorLayer::new(config)
}
