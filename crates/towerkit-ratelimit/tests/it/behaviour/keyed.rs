//! The keyed limit.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, StatusCode};
use tower::{Layer, Service, ServiceExt};
use towerkit_core::{
    Call, CarriesRejection, Clock, Event, LayerExt, Rejection, RejectionReason, stack,
};
use towerkit_http::HttpExt;
use towerkit_ratelimit::{ByHeader, ByText, KeyedRateLimitLayer, Quota, RateLimitLayer, WhenFull};
use towerkit_test::{Action, Probe, ProbeError};

fn quota(count: u32, burst: u32) -> Quota {
    Quota::per_second(count).unwrap().burst(burst).unwrap()
}

/// The key of a call is the number in its request.
fn key(call: &Call<'_, Action>) -> Option<u32> {
    Some(number(call))
}

fn number(call: &Call<'_, Action>) -> u32 {
    match &*call.request {
        Action::Pend(key) => *key,
        _ => 0,
    }
}

/// Calls with a key until a call is rejected. Returns the number of admitted calls, and the rejection.
async fn admitted<S>(service: &S, key: u32) -> (u32, Rejection)
where
    S: Service<Action, Error = ProbeError> + Clone,
{
    let mut admitted = 0;
    loop {
        match service.clone().oneshot(Action::Pend(key)).await {
            Ok(_) => admitted += 1,
            Err(error) => return (admitted, error.rejection().cloned().unwrap()),
        }
    }
}

#[tokio::test]
async fn each_key_has_its_own_bucket() {
    let (clock, clock_control) = Clock::manual();
    let layer = KeyedRateLimitLayer::new(quota(10, 3), key)
        .clock(clock)
        .name("search");
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    for key in 0..5 {
        let (admitted, rejection) = admitted(&service, key).await;
        assert_eq!(admitted, 3);
        assert_eq!(rejection.reason(), RejectionReason::RateLimited);
        assert_eq!(rejection.retry_after(), Some(Duration::from_millis(100)));
        assert_eq!(rejection.layer(), "search");
    }
    assert_eq!(handle.snapshot().keys, 5);
    clock_control.advance(Duration::from_millis(200));
    assert_eq!(handle.available(&3u32), 2);
    assert_eq!(handle.available(&99u32), 3);
    assert_eq!(admitted(&service, 3).await.0, 2);
}

/// Calls without the header share a bucket.
#[tokio::test]
async fn a_header_is_the_key() {
    let (clock, _clock_control) = Clock::manual();
    let layer = KeyedRateLimitLayer::new(quota(1, 2), ByHeader::new("x-api-key")).clock(clock);
    let handle = layer.handle();
    let service = layer.http().layer(Probe::new());
    let call = async |key: Option<&str>| {
        let mut request = Request::new(Action::Succeed);
        if let Some(key) = key {
            request
                .headers_mut()
                .insert("x-api-key", key.parse().unwrap());
        }
        service.clone().oneshot(request).await.unwrap().status()
    };
    for key in [Some("a"), Some("b"), None] {
        assert_eq!(call(key).await, StatusCode::OK);
        assert_eq!(call(key).await, StatusCode::OK);
        assert_eq!(call(key).await, StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!((handle.available("a"), handle.available("c")), (0, 2));
}

#[tokio::test]
async fn text_in_the_call_is_the_key() {
    let (clock, _clock_control) = Clock::manual();
    let quota = quota(1, 1);
    let layer = KeyedRateLimitLayer::new(
        quota,
        ByText::new(|call: &Call<'_, Action>| {
            matches!(call.request, Action::Succeed).then(|| call.operation())
        }),
    );
    let layer = layer.clock(clock).plain("greet");
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    service.clone().oneshot(Action::Succeed).await.unwrap();
    assert_eq!(handle.available("greet"), 0);
    assert!(service.clone().oneshot(Action::Succeed).await.is_err());
    assert!(service.clone().oneshot(Action::Pend(1)).await.is_ok());
    assert!(service.oneshot(Action::Pend(2)).await.is_err());
}

#[tokio::test]
async fn a_function_chooses_the_tier() {
    let (clock, _clock_control) = Clock::manual();
    let layer = KeyedRateLimitLayer::new(quota(1, 1), key).clock(clock);
    let layer = layer.tiers([quota(1, 4), quota(1, 9)], |call: &Call<'_, Action>| {
        number(call) as usize % 4
    });
    let layer = layer.unwrap();
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    for (key, burst) in [(0, 1), (1, 4), (2, 9), (3, 1), (5, 4)] {
        assert_eq!(admitted(&service, key).await.0, burst);
    }
    assert_eq!(handle.quota(2), Some(quota(1, 9)));
    assert_eq!(handle.quota(3), None);
    handle.set_quota(1, quota(1, 6)).unwrap();
    assert_eq!(admitted(&service, 9).await.0, 6);
    assert_eq!(admitted(&service, 5).await.0, 0);
    assert!(handle.set_quota(3, quota(1, 1)).is_err());
}

#[tokio::test]
async fn a_key_can_have_a_quota_of_its_own() {
    let (clock, clock_control) = Clock::manual();
    let layer = KeyedRateLimitLayer::new(quota(1, 1), key).clock(clock);
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    assert_eq!(admitted(&service, 7).await.0, 1);
    handle.set_override(&7u32, quota(1, 5)).unwrap();
    assert_eq!(admitted(&service, 7).await.0, 5);
    assert_eq!(admitted(&service, 8).await.0, 1);
    handle.set_override(&7u32, quota(1, 8)).unwrap();
    assert_eq!(admitted(&service, 7).await.0, 0);
    clock_control.advance(Duration::from_secs(100));
    assert_eq!(
        (handle.available(&7u32), handle.snapshot().overrides),
        (8, 1)
    );
    assert_eq!(admitted(&service, 7).await.0, 8);
    assert!(handle.remove_override(&7u32) && !handle.remove_override(&7u32));
    assert_eq!(admitted(&service, 7).await.0, 1);
}

/// Both limits admit a call, or neither loses a token.
#[tokio::test]
async fn a_call_takes_tokens_of_its_key_and_of_the_total() {
    let (clock, clock_control) = Clock::manual();
    let layer = KeyedRateLimitLayer::new(quota(1, 3), key)
        .clock(clock)
        .total(quota(10, 5));
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    assert_eq!(admitted(&service, 1).await.0, 3);
    let (of_two, rejection) = admitted(&service, 2).await;
    assert_eq!(
        (of_two, rejection.retry_after()),
        (2, Some(Duration::from_millis(100)))
    );
    // A call that the limit of its key rejected costs the total no token, and a call that the total rejected costs its key none.
    clock_control.advance(Duration::from_millis(100));
    assert_eq!(
        admitted(&service, 1).await.1.retry_after(),
        Some(Duration::from_millis(900))
    );
    assert_eq!(handle.available(&2u32), 1);
    assert_eq!(admitted(&service, 2).await.0, 1);
    assert_eq!(handle.snapshot().total, Some(quota(10, 5)));
    handle.set_total(quota(10, 50)).unwrap();
    assert_eq!(handle.snapshot().total, Some(quota(10, 50)));
    let without = KeyedRateLimitLayer::new(quota(1, 1), key).handle();
    assert!(without.set_total(quota(1, 1)).is_err() && without.snapshot().total.is_none());
}

#[tokio::test]
async fn a_cost_at_the_end_is_charged_to_the_key() {
    let (clock, clock_control) = Clock::manual();
    let layer = KeyedRateLimitLayer::new(quota(1, 10), key)
        .clock(clock)
        .cost(|call: &Call<'_, Action>| number(call))
        .cost_at_end(|_| 6);
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    service.clone().oneshot(Action::Pend(2)).await.unwrap();
    assert_eq!((handle.available(&2u32), handle.available(&3u32)), (2, 10));
    service.clone().oneshot(Action::Pend(2)).await.unwrap();
    assert!(service.clone().oneshot(Action::Pend(2)).await.is_err());
    clock_control.advance(Duration::from_secs(8));
    service.oneshot(Action::Pend(2)).await.unwrap();
}

/// The overflow is reported once a second, not once a call.
#[tokio::test]
async fn a_key_without_a_slot_shares_a_bucket_or_is_rejected() {
    let (clock, clock_control) = Clock::manual();
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let layer = KeyedRateLimitLayer::new(quota(1, 1), key)
        .clock(clock)
        .capacity(8)
        .unwrap()
        .events(move |event: &Event| seen.lock().unwrap().push(event.clone()));
    let service = layer.layer(Probe::new());
    let handle = layer.handle();
    let mut total = 0;
    for key in 0..1000 {
        total += admitted(&service, key).await.0;
    }
    let snapshot = handle.snapshot();
    assert_eq!(u64::from(total), snapshot.keys + 1);
    assert!((8..=16).contains(&snapshot.keys) && snapshot.evicted == 0);
    // The key that was admitted called twice. Another key may find a slot later, with no more tokens than the shared bucket had left.
    assert!(snapshot.overflowed <= 1000 - snapshot.keys + 1);
    clock_control.advance(Duration::from_secs(1));
    for key in 2000..2100 {
        admitted(&service, key).await;
    }
    let reported = events.lock().unwrap().clone();
    let [
        Event::KeyTableFull { calls: 1, .. },
        Event::KeyTableFull { calls, .. },
    ] = &reported[..]
    else {
        panic!("{reported:?}");
    };
    assert_eq!(*calls, snapshot.overflowed);

    let layer = layer.when_full(WhenFull::Reject);
    let service = layer.layer(Probe::new());
    let reasons = async |key| admitted(&service, key).await.1.reason();
    for key in 0..100 {
        reasons(key).await;
    }
    assert_eq!(reasons(999).await, RejectionReason::Overloaded);
}

#[tokio::test]
async fn a_key_without_a_slot_can_bypass_the_limit() {
    let (clock, _clock_control) = Clock::manual();
    let layer = KeyedRateLimitLayer::new(quota(1, 1), key)
        .clock(clock)
        .capacity(8)
        .unwrap()
        .when_full(WhenFull::Bypass);
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    for key in 0..100 {
        service.clone().oneshot(Action::Pend(key)).await.unwrap();
    }
    assert!(handle.snapshot().keys <= 16);
    for _ in 0..10 {
        service.clone().oneshot(Action::Pend(99)).await.unwrap();
    }
    // A key with a slot is limited.
    assert!(service.clone().oneshot(Action::Pend(0)).await.is_err());
}

/// RL-14: a jump of the time, as after a pause of the process, gives each key its burst and no more.
#[tokio::test]
async fn after_a_pause_of_the_process_each_key_has_its_burst() {
    let (clock, clock_control) = Clock::manual();
    let layer = KeyedRateLimitLayer::new(quota(100, 4), key).clock(clock);
    let service = layer.layer(Probe::new());
    for _ in 0..3 {
        for key in 0..10 {
            assert_eq!(admitted(&service, key).await.0, 4);
        }
        clock_control.advance(Duration::from_secs(3));
    }
}

/// RL-19, with a keyed limit and another limit in one policy stack.
#[tokio::test]
async fn a_call_after_retry_after_is_admitted_by_both_limits() {
    let (clock, clock_control) = Clock::manual();
    let policies = stack((
        RateLimitLayer::new(Quota::new(7, Duration::from_secs(3)).unwrap()).clock(clock.clone()),
        KeyedRateLimitLayer::new(
            Quota::new(1, Duration::from_millis(1500)).unwrap(),
            ByHeader::new("k"),
        )
        .clock(clock),
    ));
    let service = policies.http().layer(Probe::new());
    let call = async || {
        service
            .clone()
            .oneshot(Request::new(Action::Succeed))
            .await
            .unwrap()
    };
    for _ in 0..1000 {
        let rejected = loop {
            let response = call().await;
            if response.status() == 429 {
                break response;
            }
        };
        let after: u64 = rejected.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        clock_control.advance(Duration::from_secs(after));
        assert_eq!(call().await.status(), 200);
    }
}

#[cfg(feature = "http")]
mod by_client_address {
    use std::net::{IpAddr, SocketAddr};

    use towerkit_http::{ClientAddress, PeerAddress};
    use towerkit_ratelimit::ByClientAddress;

    use super::*;

    fn request(peer: &str, forwarded_for: &str) -> Request<Action> {
        let peer = SocketAddr::new(peer.parse().unwrap(), 443);
        let request = Request::builder().header("x-forwarded-for", forwarded_for);
        request
            .extension(PeerAddress(peer))
            .body(Action::Succeed)
            .unwrap()
    }

    /// RL-10, RL-12: also from any of the 2^64 addresses of its network.
    #[tokio::test]
    async fn a_client_has_one_key_whatever_headers_it_sends() {
        let (clock, _clock_control) = Clock::manual();
        let layer =
            KeyedRateLimitLayer::new(quota(1, 1), ByClientAddress::new(ClientAddress::new()));
        let layer = layer.clock(clock);
        let handle = layer.handle();
        let service = layer.http().layer(Probe::new());
        let mut admitted = 0;
        for i in 0..1000u32 {
            let peer = format!("2001:db8:0:1:{:x}::{i:x}", i % 7);
            let response = service
                .clone()
                .oneshot(request(&peer, &format!("9.9.{}.{}", i / 256, i % 256)));
            admitted += u32::from(response.await.unwrap().status() == 200);
        }
        assert_eq!((admitted, handle.snapshot().keys), (1, 1));
        for (peer, status) in [("1.2.3.4", 200), ("::ffff:1.2.3.4", 429), ("1.2.3.5", 200)] {
            let response = service
                .clone()
                .oneshot(request(peer, "9.9.9.9"))
                .await
                .unwrap();
            assert_eq!(response.status(), status, "{peer}");
        }
    }

    /// Without `ConnectInfo` all clients would share one bucket, which would be noticed only under load.
    #[tokio::test]
    async fn a_call_without_a_peer_address_is_rejected_and_reported() {
        let (clock, clock_control) = Clock::manual();
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = events.clone();
        let layer =
            KeyedRateLimitLayer::new(quota(9, 9), ByClientAddress::new(ClientAddress::new()))
                .clock(clock)
                .name("clients")
                .events(move |event: &Event| seen.lock().unwrap().push(event.clone()));
        let handle = layer.handle();
        let service = layer.http().layer(Probe::new());
        let call = async |request| {
            let response = service.clone().oneshot(request).await.unwrap();
            response.status().as_u16()
        };
        let without_peer = || Request::new(Action::Succeed);
        assert_eq!(call(without_peer()).await, 503);
        assert_eq!(call(without_peer()).await, 503);
        assert_eq!(call(request("1.2.3.4", "9.9.9.9")).await, 200);
        clock_control.advance(Duration::from_secs(1));
        assert_eq!(call(without_peer()).await, 503);
        let missing = |calls| Event::ClientAddressMissing {
            name: "clients".into(),
            calls,
        };
        assert_eq!(*events.lock().unwrap(), [1, 2].map(missing));
        assert_eq!(handle.snapshot().keys, 1);
    }

    /// RL-11
    #[tokio::test]
    async fn clients_behind_a_trusted_proxy_have_keys_of_their_own() {
        let (clock, _clock_control) = Clock::manual();
        let address = ClientAddress::new().trust(["10.0.0.0/8"]).unwrap();
        let layer = KeyedRateLimitLayer::new(quota(1, 1), ByClientAddress::new(address.clone()))
            .clock(clock);
        let handle = layer.handle();
        let service = layer.http().layer(Probe::new());
        for (line, status) in [
            ("203.0.113.7, 10.0.0.2", 200),
            ("1.1.1.1, 203.0.113.7, 10.0.0.2", 429),
            ("203.0.113.8", 200),
        ] {
            let response = service
                .clone()
                .oneshot(request("10.0.0.1", line))
                .await
                .unwrap();
            assert_eq!(response.status(), status, "{line}");
        }
        let client: IpAddr = "203.0.113.9".parse().unwrap();
        let client = address.network_of(client);
        handle.set_override(&client, quota(1, 3)).unwrap();
        assert_eq!(handle.available(&client), 3);
        assert_eq!(
            service
                .clone()
                .oneshot(request("10.0.0.1", "203.0.113.9"))
                .await
                .unwrap()
                .status(),
            200
        );
        assert_eq!(handle.available(&client), 2);
    }
}
