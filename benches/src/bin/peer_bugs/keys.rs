use std::net::SocketAddr;

use axum::{body::Body, extract::ConnectInfo};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::runtime::Handle;
use tower::{Layer, Service, ServiceExt};
use tower_governor::{
    GovernorLayer, governor::GovernorConfigBuilder, key_extractor::SmartIpKeyExtractor,
};
use towerkit_benches::{Ready, peers};
use towerkit_core::Call;
use towerkit_http::{ClientAddress, HttpExt, PeerAddress};
use towerkit_ratelimit::{KeyedRateLimitLayer, Quota};

use crate::Bug;

pub(crate) fn bugs() -> Vec<Bug> {
    vec![every_key_is_kept(), forged_addresses()]
}

/// A million keys, each of which comes once; by then the first have long been idle.
fn every_key_is_kept() -> Bug {
    const KEYS: u64 = 1_000_000;
    let mut governor = peers::governor_keyed().layer(Ready::<Full<Bytes>>::new());
    let quota = Quota::per_second(1_000_000_000).expect("a valid quota");
    let layer = KeyedRateLimitLayer::new(quota, |call: &Call<'_, u64>| Some(*call.request));
    let handle = layer.handle();
    let mut ours = layer.layer(Ready::<Full<Bytes>>::new());
    Handle::current().block_on(async {
        for key in 0..KEYS {
            let _ = governor.call(key).await;
            let _ = ours.call(key).await;
        }
    });
    let at_most = |keys: u64| {
        if keys <= 200_000 {
            "at most 200,000".to_owned()
        } else {
            keys.to_string()
        }
    };
    Bug {
        id: "RL-09",
        peer: "governor",
        what: "1,000,000 keys that come once each: remembered",
        expected: "at most 200,000",
        observed: at_most(governor.keys() as u64),
        ours: at_most(handle.snapshot().keys),
    }
}

/// One untrusted caller claims another address in each request.
fn forged_addresses() -> Bug {
    let config = GovernorConfigBuilder::default()
        .per_second(3600)
        .burst_size(5)
        .key_extractor(SmartIpKeyExtractor)
        .finish()
        .expect("a valid configuration");
    let quota = Quota::per_second(1).and_then(|quota| quota.burst(5));
    let client = ClientAddress::new();
    let key = move |call: &Call<'_, Request<Full<Bytes>>>| {
        client.find(call.request.headers(), call.request.extensions())
    };
    let ours = KeyedRateLimitLayer::new(quota.expect("a valid quota"), key);
    Bug {
        id: "RL-10",
        peer: "tower_governor",
        what: "5 at once for each client, one caller that forges `X-Forwarded-For`: admitted of 1000",
        expected: "5",
        observed: admitted(GovernorLayer::new(config).layer(Ready::<Body>::new())),
        ours: admitted(ours.http().layer(Ready::<Body>::new())),
    }
}

fn admitted<S, B>(service: S) -> String
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
{
    let peer = SocketAddr::from(([192, 0, 2, 1], 443));
    let call = |n: u32| {
        let forged = format!("10.0.{}.{}", n / 256, n % 256);
        let mut request = Request::get("/").header("x-forwarded-for", forged);
        if let Some(extensions) = request.extensions_mut() {
            extensions.insert(ConnectInfo(peer));
            extensions.insert(PeerAddress(peer));
        }
        let request = request.body(Full::default()).expect("a valid request");
        let response = Handle::current().block_on(service.clone().oneshot(request));
        response.is_ok_and(|response| response.status() == 200)
    };
    (0..1000).filter(|n| call(*n)).count().to_string()
}
