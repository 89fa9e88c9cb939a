//! The headers `RateLimit` and `RateLimit-Policy`.

use std::time::Duration;

use http::{HeaderMap, Request};
use tower::{Layer, ServiceExt};
use towerkit_core::{Call, Clock, stack};
use towerkit_http::HttpExt;
use towerkit_ratelimit::{
    ByHeader, DelayingRateLimitLayer, KeyedRateLimitLayer, Quota, RateLimitLayer,
};
use towerkit_test::{Action, Probe};

/// Parses a header that is a list of one string with integer parameters (RFC 9651) into (string, parameters).
fn parsed(headers: &HeaderMap, name: &str) -> (String, Vec<(String, u64)>) {
    let value = headers[name].to_str().unwrap();
    assert_eq!(headers.get_all(name).iter().count(), 1);
    let rest = value.strip_prefix('"').expect("a string");
    let (policy, parameters) = rest.split_once('"').expect("a string that ends");
    assert!(
        policy
            .bytes()
            .all(|b| (b' '..=b'~').contains(&b) && b != b'\\')
    );
    let parameters = parameters.split(';').skip(1).map(|parameter| {
        let (key, number) = parameter.split_once('=').expect("a parameter with a value");
        assert!(number.len() <= 15 && number.bytes().all(|b| b.is_ascii_digit()));
        (key.to_owned(), number.parse().unwrap())
    });
    (policy.to_owned(), parameters.collect())
}

fn values(headers: &HeaderMap) -> [u64; 4] {
    let (policy, numbers) = parsed(headers, "ratelimit-policy");
    let (same, counts) = parsed(headers, "ratelimit");
    assert_eq!(policy, same);
    let [(q, quota), (w, window)] = &numbers[..] else {
        panic!("{numbers:?}")
    };
    let [(r, left), (t, seconds)] = &counts[..] else {
        panic!("{counts:?}")
    };
    assert_eq!([&q[..], w, r, t], ["q", "w", "r", "t"]);
    [*quota, *window, *left, *seconds]
}

/// RL-13, RL-19
#[tokio::test]
async fn responses_show_the_remaining_tokens() {
    let (clock, clock_control) = Clock::manual();
    let quota = Quota::new(100, Duration::from_secs(60))
        .unwrap()
        .burst(3)
        .unwrap();
    let layer = RateLimitLayer::new(quota)
        .clock(clock)
        .headers("default")
        .unwrap();
    let service = layer.http().layer(Probe::new());
    let call = async || {
        let response = service
            .clone()
            .oneshot(Request::new(Action::Succeed))
            .await
            .unwrap();
        (response.status().as_u16(), response.headers().clone())
    };
    for left in [2, 1, 0] {
        let (status, headers) = call().await;
        assert_eq!((status, values(&headers)), (200, [100, 60, left, 1]));
        assert_eq!(headers["ratelimit-policy"], "\"default\";q=100;w=60");
    }
    let (status, headers) = call().await;
    assert_eq!((status, values(&headers)), (429, [100, 60, 0, 1]));
    assert_eq!(headers["retry-after"], "1");
    assert_eq!(headers["ratelimit"], "\"default\";r=0;t=1");
    clock_control.advance(Duration::from_millis(1700));
    assert_eq!(values(&call().await.1), [100, 60, 1, 1]);
}

/// RL-13: the window has whole seconds, and the calls that fit in them; it is never longer than `Retry-After`.
#[tokio::test]
async fn the_policy_header_shows_no_more_than_the_quota() {
    let millis = Duration::from_millis;
    for (count, per, burst, expected) in [
        (10, millis(1000), 10, [10, 1]),
        (10, millis(1000), 50, [50, 5]),
        (10, millis(1000), 55, [60, 6]),
        (1, millis(100), 1, [10, 1]),
        (3, millis(1500), 3, [4, 2]),
        (7, millis(3000), 7, [7, 3]),
        (1, Duration::from_secs(30 * 24 * 3600), 2, [2, 5_184_000]),
        (
            1_000_000_000,
            millis(1000),
            u32::MAX,
            [u64::from(u32::MAX), 5],
        ),
    ] {
        let (clock, _clock_control) = Clock::manual();
        let quota = Quota::new(count, per).unwrap().burst(burst).unwrap();
        let layer = RateLimitLayer::new(quota)
            .clock(clock)
            .headers("p")
            .unwrap();
        let layer = layer.cost(move |_: &Call<'_, Request<Action>>| burst);
        let service = layer.http().layer(Probe::new());
        let call = || service.clone().oneshot(Request::new(Action::Succeed));
        let [quota, window, left, _] = values(call().await.unwrap().headers());
        assert_eq!(([quota, window], left), (expected, 0));
        let rejected = call().await.unwrap();
        let after: u64 = rejected.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let [.., seconds] = values(rejected.headers());
        assert!(seconds >= 1 && after >= seconds);
    }
}

/// RL-13: a rejection over gRPC is trailers-only, where the draft forbids these headers.
#[tokio::test]
async fn over_grpc_only_responses_to_admitted_calls_have_the_headers() {
    let (clock, _clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(Quota::per_second(1).unwrap()).clock(clock);
    let service = layer.headers("default").unwrap().grpc().layer(Probe::new());
    let call = || service.clone().oneshot(Request::new(Action::Succeed));
    assert_eq!(values(call().await.unwrap().headers()), [1, 1, 0, 1]);
    let rejected = call().await.unwrap();
    assert_eq!(rejected.headers()["grpc-status"], "8");
    assert!(!rejected.headers().contains_key("ratelimit"));
    assert!(!rejected.headers().contains_key("ratelimit-policy"));
}

/// RL-15: neither the key nor its hash.
#[tokio::test]
async fn keys_appear_in_no_header_and_no_debug_output() {
    let secret = "sk-live-0123456789";
    let (clock, _clock_control) = Clock::manual();
    let layer = KeyedRateLimitLayer::new(Quota::per_second(1).unwrap(), ByHeader::new("x-api-key"))
        .clock(clock)
        .headers("per-key")
        .unwrap();
    let handle = layer.handle();
    handle
        .set_override("another", Quota::per_second(5).unwrap())
        .unwrap();
    assert!(!format!("{layer:?} {handle:?} {:?}", handle.snapshot()).contains("another"));
    let service = layer.http().layer(Probe::new());
    for status in [200, 429] {
        let request = Request::builder().header("x-api-key", secret);
        let request = request.body(Action::Succeed).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(values(response.headers()), [1, 1, 0, 1]);
        let shown = format!("{:?} {:?}", response.headers(), response.extensions());
        assert!(!shown.contains("pk=") && !shown.contains(secret));
    }
    assert!(!format!("{service:?} {handle:?}").contains(secret));
}

#[tokio::test]
async fn a_change_of_the_quota_changes_the_policy_header() {
    let (clock, _clock_control) = Clock::manual();
    let layer = RateLimitLayer::new(Quota::per_second(5).unwrap()).clock(clock);
    let handle = layer.handle();
    let service = layer.headers("default").unwrap().http().layer(Probe::new());
    handle.set_quota(Quota::new(2, Duration::from_secs(60)).unwrap());
    let response = service
        .oneshot(Request::new(Action::Succeed))
        .await
        .unwrap();
    assert_eq!(values(response.headers()), [2, 60, 1, 30]);
}

/// It is the same time in `Retry-After` and in `RateLimit`.
#[tokio::test(start_paused = true)]
async fn a_call_rejected_by_a_full_queue_gets_the_time_of_the_next_place() {
    let quota = Quota::new(1, Duration::from_secs(10)).unwrap();
    let layer = DelayingRateLimitLayer::new(quota, Duration::from_secs(3)).unwrap();
    let layer = layer
        .clock(towerkit_test::tokio_clock())
        .headers("default")
        .unwrap();
    let service = layer.http().layer(Probe::new());
    let call = || service.clone().oneshot(Request::new(Action::Succeed));
    assert_eq!(values(call().await.unwrap().headers()), [1, 10, 0, 10]);
    let rejected = call().await.unwrap();
    assert_eq!(rejected.headers()["retry-after"], "7");
    assert_eq!(values(rejected.headers()), [1, 10, 0, 7]);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(values(call().await.unwrap().headers()), [1, 10, 0, 10]);
}

/// Both headers are lists, to which each limit appends a member: nested, and in one policy stack.
#[tokio::test]
async fn two_limits_append_to_the_same_headers() {
    let (clock, _clock_control) = Clock::manual();
    let layer = |policy, calls| {
        let layer = RateLimitLayer::new(Quota::per_second(calls).unwrap());
        layer.clock(clock.clone()).headers(policy).unwrap()
    };
    let members = |headers: &HeaderMap, name| {
        let lines = headers.get_all(name).into_iter();
        let lines = lines.map(|line| line.to_str().unwrap().to_owned());
        let mut members: Vec<_> = { lines }
            .flat_map(|line| line.split(", ").map(str::to_owned).collect::<Vec<_>>())
            .collect();
        members.sort_unstable();
        members
    };
    let inner = layer("second", 1).http().layer(Probe::new());
    let nested = layer("first", 2).http().layer(inner);
    let stack = stack((layer("first", 2), layer("second", 1))).http();
    let stacked = stack.layer(Probe::new());
    let nested = async || nested.clone().oneshot(Request::new(Action::Succeed)).await;
    let stacked = async || stacked.clone().oneshot(Request::new(Action::Succeed)).await;
    let policies = ["\"first\";q=2;w=1", "\"second\";q=1;w=1"];
    let admitted = [
        nested().await.unwrap().headers().clone(),
        stacked().await.unwrap().headers().clone(),
    ];
    for headers in admitted {
        assert_eq!(members(&headers, "ratelimit-policy"), policies);
        let limits = ["\"first\";r=1;t=1", "\"second\";r=0;t=1"];
        assert_eq!(members(&headers, "ratelimit"), limits);
    }
    let rejected = nested().await.unwrap();
    assert_eq!(rejected.status(), 429);
    assert_eq!(members(rejected.headers(), "ratelimit-policy"), policies);
    let limits = ["\"first\";r=0;t=1", "\"second\";r=0;t=1"];
    assert_eq!(members(rejected.headers(), "ratelimit"), limits);
    // In a policy stack the limit that rejects makes the response.
    let rejected = stacked().await.unwrap();
    assert_eq!(members(rejected.headers(), "ratelimit"), limits[1..]);
}
