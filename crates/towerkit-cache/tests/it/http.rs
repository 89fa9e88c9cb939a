//! A cache over HTTP: whole answers within a limit, and none that says that it is not for others.

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

type Asked = Request<Empty<Bytes>>;
type Body = StreamBody<Frames>;
type Keys = KeyFn<fn(&Asked) -> Option<RequestKey>, RequestKey>;
type Field = (&'static str, &'static str);

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

/// What an origin says next.
#[derive(Debug, Clone, Copy)]
struct Says {
    status: u16,
    field: Field,
    breaks_off: bool,
}

const GOOD: Says = Says {
    status: 200,
    field: ("x-a", "1"),
    breaks_off: false,
};

/// Answers each call with its number in a field.
#[derive(Debug, Clone)]
struct Origin(Arc<(AtomicU64, Mutex<Says>)>);

impl Origin {
    fn new(says: Says) -> Self {
        Self(Arc::new((AtomicU64::new(0), Mutex::new(says))))
    }

    fn says(&self, says: Says) {
        *self.0.1.lock().unwrap() = says;
    }
}

impl Service<Asked> for Origin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Asked) -> Self::Future {
        let says = *self.0.1.lock().unwrap();
        let call = self.0.0.fetch_add(1, Ordering::Relaxed);
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", HeaderValue::from_static("7"));
        let mut frames = vec![
            Ok(Frame::data(Bytes::from_static(b"hello "))),
            Ok(Frame::data(Bytes::from_static(b"world"))),
            Ok(Frame::trailers(trailers)),
        ];
        if says.breaks_off {
            frames[1] = Err(Broken);
        }
        let response = Response::builder()
            .status(says.status)
            .header("call", call)
            .header(says.field.0, says.field.1)
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

fn scene(layer: CacheLayer<Keys>, says: Says) -> Scene {
    let origin = Origin::new(says);
    let (clock, clock_control) = Clock::manual();
    let layer = layer.clock(clock).http();
    Scene {
        service: layer.layer(origin.clone()),
        handle: layer.handle(),
        origin,
        clock_control,
    }
}

fn of(says: Says) -> Scene {
    scene(layer(minute(), Capacity::bytes(1 << 20).unwrap()), says)
}

fn get() -> Asked {
    Request::new(Empty::new())
}

fn with(name: &'static str, value: &'static str) -> Asked {
    let mut request = get();
    let value = HeaderValue::from_static(value);
    request.headers_mut().insert(name, value);
    request
}

/// What a caller gets: the number of the call, the status, and the body unless it breaks off.
type Got = (String, u16, Option<Bytes>);

impl Scene {
    fn call(&mut self, request: Asked) -> Got {
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

    /// Calls twice; returns whether the second got what the first did.
    fn keeps(&mut self, request: fn() -> Asked) -> bool {
        self.call(request()).0 == self.call(request()).0
    }
}

#[test]
fn the_second_caller_gets_the_whole_cached_response() {
    let mut scene = of(GOOD);
    let first = scene.call(get());
    assert_eq!(
        first,
        ("0".to_owned(), 200, Some(Bytes::from("hello world")))
    );
    assert_eq!(scene.call(get()), first);
    scene.clock_control.advance(Duration::from_secs(60));
    assert_eq!(scene.call(get()).0, "1");
}

/// Each reads the body ahead for itself, and the second finds it whole.
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

/// What other layers attached belongs to the call that was made.
#[test]
fn extensions_are_not_cached() {
    let mut scene = of(GOOD);
    for expected in [Some(0_u64), None] {
        let response = run_paused(async { scene.service.call(get()).await.unwrap() });
        assert_eq!(response.extensions().get().copied(), expected);
    }
}

#[test]
fn only_complete_public_successes_are_cached() {
    let field = |name, value| Says {
        field: (name, value),
        ..GOOD
    };
    let status = |status| Says { status, ..GOOD };
    let table = [
        (GOOD, true),
        (status(204), true),
        (status(206), false),
        (status(404), false),
        (status(429), false),
        (status(500), false),
        (field("cache-control", "no-store"), false),
        (field("cache-control", "private"), false),
        (field("cache-control", "no-cache"), false),
        (field("cache-control", "max-age=1"), true),
        (field("set-cookie", "id=1"), false),
        (field("vary", "accept"), true),
        (field("vary", "cookie"), false),
        (field("content-type", "text/event-stream"), false),
        (
            Says {
                breaks_off: true,
                ..GOOD
            },
            false,
        ),
    ];
    for (says, is_kept) in table {
        assert_eq!(of(says).keeps(get), is_kept, "{says:?}");
    }
}

#[test]
fn requests_with_credentials_or_a_range_bypass_the_cache() {
    assert!(of(GOOD).keeps(|| with("user-agent", "x")));
    assert!(!of(GOOD).keeps(|| with("authorization", "Bearer ann")));
    assert!(!of(GOOD).keeps(|| with("cookie", "id=1")));
    assert!(!of(GOOD).keeps(|| with("range", "bytes=0-1")));
    let post = || {
        let mut request = get();
        *request.method_mut() = http::Method::POST;
        request
    };
    assert!(!of(GOOD).keeps(post));
    let passing = of(GOOD).handle.snapshot();
    assert_eq!((passing.misses, passing.entries), (0, 0));
}

#[test]
fn a_body_over_the_limit_is_passed_on_and_not_cached() {
    for (limit, is_kept) in [(10, false), (11, true)] {
        let layer = layer(minute(), Capacity::bytes(1 << 20).unwrap());
        let mut scene = scene(layer.max_body(limit).unwrap(), GOOD);
        assert_eq!(scene.call(get()).2.unwrap(), "hello world");
        assert_eq!(scene.keeps(get), is_kept);
    }
}

/// RFC 5861: also for an answer that breaks off on the way.
#[test]
fn a_stale_response_replaces_an_error() {
    let bad = [
        Says {
            status: 500,
            ..GOOD
        },
        Says {
            status: 503,
            ..GOOD
        },
        Says {
            breaks_off: true,
            ..GOOD
        },
    ];
    for bad in bad {
        let hour = Duration::from_secs(3600);
        let lifetime = minute().stale_if_error(hour).unwrap();
        let mut scene = scene(layer(lifetime, Capacity::entries(10).unwrap()), GOOD);
        let good = scene.call(get());
        scene.clock_control.advance(hour);
        scene.origin.says(bad);
        assert_eq!(scene.call(get()), good, "{bad:?}");
        scene.clock_control.advance(hour);
        assert_ne!(scene.call(get()), good, "{bad:?}");
    }
}

/// A page that is gone, or that is for one caller from now on, must not come back for others.
#[test]
fn a_response_that_cannot_be_cached_removes_the_cached_one() {
    let next = [
        Says {
            status: 404,
            ..GOOD
        },
        Says {
            field: ("cache-control", "private"),
            ..GOOD
        },
    ];
    for next in next {
        let hour = Duration::from_secs(3600);
        let lifetime = minute().stale_while_revalidate(hour).unwrap();
        let mut scene = scene(layer(lifetime, Capacity::entries(10).unwrap()), GOOD);
        scene.call(get());
        scene.clock_control.advance(Duration::from_secs(90));
        scene.origin.says(next);
        assert_eq!(scene.call(get()).0, "1");
        assert_eq!(scene.handle.snapshot().entries, 0);
        assert_eq!(scene.call(get()).0, "2");
    }
}

/// Long queries weigh what they are, so that a flood of them takes no more than the capacity.
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

/// hyper cuts the connection of such a response: whoever gets it knows that it is not whole.
#[test]
fn a_body_that_ends_before_its_declared_length_is_not_cached() {
    for (length, is_kept) in [("100", false), ("11", true)] {
        let field = ("content-length", length);
        let mut scene = of(Says { field, ..GOOD });
        assert_eq!(scene.keeps(get), is_kept, "{length}");
        assert_eq!(scene.handle.snapshot().entries, u64::from(is_kept));
    }
}
