//! HTTP: keys from request headers, and rejections as responses.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_http::HttpExt;
use towerkit_ratelimit::Quota;
use towerkit_ratelimit_redis::{ByHeader, RedisRateLimitLayer, redis::Client};
use towerkit_test::run_paused;

type Body = http_body_util::Full<bytes::Bytes>;

/// Returns a layer whose Redis does not exist, so that the process applies the quota by itself.
fn layer() -> RedisRateLimitLayer {
    let missing = Client::open("redis+unix:///nowhere/redis.sock").unwrap();
    let quota = Quota::new(1, Duration::from_secs(60)).unwrap();
    RedisRateLimitLayer::new(missing, quota).unwrap()
}

fn request(key: &str) -> Request<Body> {
    let request = Request::builder().header("x-key", key);
    request.body(Body::default()).unwrap()
}

async fn answer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::default()))
}

/// RL-13
#[test]
fn a_key_beyond_its_quota_gets_429_and_retry_after() {
    run_paused(async {
        let layer = layer().key(ByHeader::new("x-key"));
        let service = layer.http().layer(service_fn(answer));
        for key in ["Ann", "Bob"] {
            let response = service.clone().oneshot(request(key)).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
        let rejected = service.oneshot(request("Ann")).await.unwrap();
        assert_eq!(rejected.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(rejected.headers()["retry-after"], "60");
    });
}

#[test]
fn a_limit_that_fails_closed_gets_503_and_retry_after() {
    run_paused(async {
        let service = layer().fail_closed().http().layer(service_fn(answer));
        let rejected = service.oneshot(request("Ann")).await.unwrap();
        assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(rejected.headers()["retry-after"], "1");
    });
}
