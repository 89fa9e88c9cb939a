//! A cache over HTTP: complete responses within a limit that are not private.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use tower::{Layer, Service, ServiceExt};
use towerkit_cache::{Cache, CacheHandle, CacheLayer, Capacity, Lifetime};
use towerkit_coalesce::CoalesceLayer;
use towerkit_core::{Clock, KeyFn, ManualClock};
use towerkit_http::{Http, HttpExt, RequestKey};
use towerkit_test::run_paused;

type Get = Request<Empty<Bytes>>;
type Body = StreamBody<Frames>;
type Keys = KeyFn<fn(&Get) -> Option<RequestKey>, RequestKey>;
type Header = (&'static str, &'static str);

/// Two frames and trailers, or a frame and an error.
#[derive(Debug)]
struct Frames(std::vec::IntoIter<Result<Frame<Bytes>, Broken>>);

#[derive(Debug)]
struct Broken;

impl futures_util::Stream for Frames {
    type Item = Result<Frame<Bytes>, Broken>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next())
    }
}

/// The next response of an origin.
#[derive(Debug, Clone, Copy)]
struct OriginResponse {
    status: u16,
    header: Header,
    is_cut_short: bool,
}

const GOOD: OriginResponse = OriginResponse {
    status: 200,
    header: ("x-a", "1"),
    is_cut_short: false,
};

/// Answers each call with its number in the header `call`.
#[derive(Debug, Clone)]
struct Origin(Arc<(AtomicU64, Mutex<OriginResponse>)>);

impl Origin {
    fn new(next: OriginResponse) -> Self {
        Self(Arc::new((AtomicU64::new(0), Mutex::new(next))))
    }

    fn set_next(&self, next: OriginResponse) {
        *self.0.1.lock().unwrap() = next;
    }
}

impl Service<Get> for Origin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Get) -> Self::Future {
        let next = *self.0.1.lock().unwrap();
        let call = self.0.0.fetch_add(1, Ordering::Relaxed);
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", HeaderValue::from_static("7"));
        let mut frames = vec![
            Ok(Frame::data(Bytes::from_static(b"hello "))),
            Ok(Frame::data(Bytes::from_static(b"world"))),
            Ok(Frame::trailers(trailers)),
        ];
        if next.is_cut_short {
            frames[1] = Err(Broken);
        }
        let response = Response::builder()
            .status(next.status)
            .header("call", call)
            .header(next.header.0, next.header.1)
            .extension(call)
            .body(StreamBody::new(Frames(frames.into_iter())));
        std::future::ready(Ok(response.unwrap()))
    }
}

struct Scene {
    origin: Origin,
    clock_control: ManualClock,
    handle: CacheHandle<RequestKey>,
    service: Cache<Origin, Keys, Http>,
}

fn layer(lifetime: Lifetime, capacity: Capacity) -> CacheLayer<Keys> {
    CacheLayer::new(lifetime, capacity, RequestKey::of)
}

fn minute() -> Lifetime {
    Lifetime::new(Duration::from_secs(60)).unwrap()
}

fn scene(layer: CacheLayer<Keys>, next: OriginResponse) -> Scene {
    let origin = Origin::new(next);
    let (clock, clock_control) = Clock::manual();
    let layer = layer.clock(clock).http();
    Scene {
        service: layer.layer(origin.clone()),
        handle: layer.handle(),
        origin,
        clock_control,
    }
}

fn scene_of(next: OriginResponse) -> Scene {
    scene(layer(minute(), Capacity::bytes(1 << 20).unwrap()), next)
}

fn get() -> Get {
    Request::new(Empty::new())
}

fn with(name: &'static str, value: &'static str) -> Get {
    let mut request = get();
    let value = HeaderValue::from_static(value);
    request.headers_mut().insert(name, value);
    request
}

/// The number of the call, the status, and the body unless it is cut short.
type Received = (String, u16, Option<Bytes>);

impl Scene {
    fn call(&mut self, request: Get) -> Received {
        run_paused(async {
            let response = self
                .service
                .ready()
                .await
                .unwrap()
                .call(request)
                .await
                .unwrap();
            let call = response.headers()["call"].to_str().unwrap().to_owned();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok();
            if let Some(body) = &body {
                assert!(body.trailers().is_some());
            }
            (call, status, body.map(http_body_util::Collected::to_bytes))
        })
    }

    /// Calls twice, and returns true if both calls got the same response.
    fn caches(&mut self, request: fn() -> Get) -> bool {
        self.call(request()).0 == self.call(request()).0
    }
}

#[test]
fn the_second_caller_gets_the_whole_cached_response() {
    let mut scene = scene_of(GOOD);
    let first = scene.call(get());
    assert_eq!(
        first,
        ("0".to_owned(), 200, Some(Bytes::from("hello world")))
    );
    assert_eq!(scene.call(get()), first);
    scene.clock_control.advance(Duration::from_secs(60));
    assert_eq!(scene.call(get()).0, "1");
}

/// Both layers read the body, and the second gets it complete.
#[test]
fn a_cache_fits_around_coalescing() {
    run_paused(async {
        let coalesce = CoalesceLayer::new(RequestKey::of::<Empty<Bytes>>).http();
        let capacity = Capacity::entries(10).unwrap();
        let cache = CacheLayer::new(minute(), capacity, RequestKey::of::<Empty<Bytes>>).http();
        let mut service = cache.layer(coalesce.layer(Origin::new(GOOD)));
        for _ in 0..2 {
            let response = service.ready().await.unwrap().call(get()).await.unwrap();
            assert_eq!(response.headers()["call"], "0");
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["checksum"], "7");
            assert_eq!(body.to_bytes(), "hello world");
        }
    });
}

/// The extensions of a response belong to its own call.
#[test]
fn extensions_are_not_cached() {
    let mut scene = scene_of(GOOD);
    for expected in [Some(0_u64), None] {
        let response = run_paused(async { scene.service.call(get()).await.unwrap() });
        assert_eq!(response.extensions().get().copied(), expected);
    }
}

#[test]
fn only_complete_public_successes_are_cached() {
    let header = |name, value| OriginResponse {
        header: (name, value),
        ..GOOD
    };
    let status = |status| OriginResponse { status, ..GOOD };
    let table = [
        (GOOD, true),
        (status(204), true),
        (status(206), false),
        (status(404), false),
        (status(429), false),
        (status(500), false),
        (header("cache-control", "no-store"), false),
        (header("cache-control", "private"), false),
        (header("cache-control", "no-cache"), false),
        (header("cache-control", "max-age=1"), true),
        (header("set-cookie", "id=1"), false),
        (header("vary", "accept"), true),
        (header("vary", "cookie"), false),
        (header("content-type", "text/event-stream"), false),
        (
            OriginResponse {
                is_cut_short: true,
                ..GOOD
            },
            false,
        ),
    ];
    for (response, is_cached) in table {
        assert_eq!(scene_of(response).caches(get), is_cached, "{response:?}");
    }
}

#[test]
fn requests_with_credentials_or_a_range_bypass_the_cache() {
    assert!(scene_of(GOOD).caches(|| with("user-agent", "x")));
    assert!(!scene_of(GOOD).caches(|| with("authorization", "Bearer ann")));
    assert!(!scene_of(GOOD).caches(|| with("cookie", "id=1")));
    assert!(!scene_of(GOOD).caches(|| with("range", "bytes=0-1")));
    let post = || {
        let mut request = get();
        *request.method_mut() = http::Method::POST;
        request
    };
    assert!(!scene_of(GOOD).caches(post));
    let bypassed = scene_of(GOOD).handle.snapshot();
    assert_eq!((bypassed.misses, bypassed.entries), (0, 0));
}

#[test]
fn a_body_over_the_limit_is_passed_on_and_not_cached() {
    for (limit, is_cached) in [(10, false), (11, true)] {
        let layer = layer(minute(), Capacity::bytes(1 << 20).unwrap());
        let mut scene = scene(layer.max_body(limit).unwrap(), GOOD);
        assert_eq!(scene.call(get()).2.unwrap(), "hello world");
        assert_eq!(scene.caches(get), is_cached);
    }
}

/// RFC 5861: a response that is cut short counts as an error.
#[test]
fn a_stale_response_replaces_an_error() {
    let bad = [
        OriginResponse {
            status: 500,
            ..GOOD
        },
        OriginResponse {
            status: 503,
            ..GOOD
        },
        OriginResponse {
            is_cut_short: true,
            ..GOOD
        },
    ];
    for bad in bad {
        let hour = Duration::from_secs(3600);
        let lifetime = minute().stale_if_error(hour).unwrap();
        let mut scene = scene(layer(lifetime, Capacity::entries(10).unwrap()), GOOD);
        let good = scene.call(get());
        scene.clock_control.advance(hour);
        scene.origin.set_next(bad);
        assert_eq!(scene.call(get()), good, "{bad:?}");
        scene.clock_control.advance(hour);
        assert_ne!(scene.call(get()), good, "{bad:?}");
    }
}

/// A resource that is gone, or has become private, must not be returned from the cache.
#[test]
fn a_response_that_cannot_be_cached_removes_the_cached_one() {
    let next = [
        OriginResponse {
            status: 404,
            ..GOOD
        },
        OriginResponse {
            header: ("cache-control", "private"),
            ..GOOD
        },
    ];
    for next in next {
        let hour = Duration::from_secs(3600);
        let lifetime = minute().stale_while_revalidate(hour).unwrap();
        let mut scene = scene(layer(lifetime, Capacity::entries(10).unwrap()), GOOD);
        scene.call(get());
        scene.clock_control.advance(Duration::from_secs(90));
        scene.origin.set_next(next);
        assert_eq!(scene.call(get()).0, "1");
        assert_eq!(scene.handle.snapshot().entries, 0);
        assert_eq!(scene.call(get()).0, "2");
    }
}

/// Keys count with their size.
#[test]
fn many_long_queries_stay_within_the_capacity() {
    let mut scene = scene(layer(minute(), Capacity::bytes(1 << 20).unwrap()), GOOD);
    let long = "x".repeat(8_000);
    for at in 0..1_000 {
        let mut request = get();
        *request.uri_mut() = format!("/?{long}{at}").parse().unwrap();
        scene.call(request);
    }
    let seen = scene.handle.snapshot();
    assert!(seen.weight <= 1 << 20, "{seen:?}");
    assert!(seen.entries <= (1 << 20) / 8_000, "{seen:?}");
    assert!(seen.entries > 50, "{seen:?}");
}

/// hyper closes the connection of such a response, so that its receiver knows that it is incomplete.
#[test]
fn a_body_that_ends_before_its_declared_length_is_not_cached() {
    for (length, is_cached) in [("100", false), ("11", true)] {
        let header = ("content-length", length);
        let mut scene = scene_of(OriginResponse { header, ..GOOD });
        assert_eq!(scene.caches(get), is_cached, "{length}");
        assert_eq!(scene.handle.snapshot().entries, u64::from(is_cached));
    }
}
