//! Over HTTP: keys from request fields, and rejections as responses.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_core::Call;
use towerkit_http::HttpExt;
use towerkit_ratelimit::Quota;
use towerkit_ratelimit_redis::{RedisRateLimitLayer, redis::Client};
use towerkit_test::run_paused;

type Body = http_body_util::Full<bytes::Bytes>;

/// A limit whose Redis is not there: each process keeps the quota.
fn layer() -> RedisRateLimitLayer {
    let nobody = Client::open("redis+unix:///nowhere/redis.sock").unwrap();
    let quota = Quota::new(1, Duration::from_secs(60)).unwrap();
    RedisRateLimitLayer::new(nobody, quota).unwrap()
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
        let layer = layer().key(|call: &Call<'_, Request<Body>>| call.header("x-key"));
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
fn a_closed_limit_without_a_redis_answers_503_and_retry_after() {
    run_paused(async {
        let service = layer().fail_closed().http().layer(service_fn(answer));
        let rejected = service.oneshot(request("Ann")).await.unwrap();
        assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(rejected.headers()["retry-after"], "1");
    });
}
