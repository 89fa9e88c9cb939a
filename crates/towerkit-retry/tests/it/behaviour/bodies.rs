//! RT-06: request bodies.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_http::{HttpExt, ReplayBody};
use towerkit_retry::{GiveUpReason, RetryLayer, RetryReport};

/// Frames of a kilobyte, of unknown number, and trailers.
struct Streamed(VecDeque<Frame<Bytes>>);

impl Streamed {
    fn of(kilobytes: usize) -> UnsyncBoxBody<Bytes, Infallible> {
        let data = (0..kilobytes).map(|_| Frame::data(Bytes::from_static(&[7; 1024])));
        let trailers = HeaderMap::from_iter([("checksum".parse().unwrap(), 7.into())]);
        Self(data.chain([Frame::trailers(trailers)]).collect()).boxed_unsync()
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// Sends a body to a service that reads it and responds with 503. Returns the body of each attempt, and the reason to give up.
async fn send<B>(layer: RetryLayer, body: B) -> (Vec<(usize, bool)>, Option<GiveUpReason>)
where
    B: ReplayBody<Data = Bytes, Error = Infallible>,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = service_fn(|request: Request<B>| {
        let seen = seen.clone();
        async move {
            let body = request.into_body().collect().await.unwrap();
            let has_trailers = body
                .trailers()
                .is_some_and(|trailers| trailers.contains_key("checksum"));
            seen.lock()
                .unwrap()
                .push((body.to_bytes().len(), has_trailers));
            let mut response = Response::new(Full::<Bytes>::default());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            Ok::<_, Infallible>(response)
        }
    });
    let mut request = Request::new(body);
    *request.method_mut() = Method::PUT;
    let response = layer.http().layer(inner).oneshot(request).await.unwrap();
    let report = response.extensions().get::<RetryReport>();
    let seen = seen.lock().unwrap().clone();
    (seen, report.and_then(RetryReport::give_up_reason))
}

#[tokio::test(start_paused = true)]
async fn a_body_within_the_limit_is_sent_with_every_attempt() {
    let attempts = Some(GiveUpReason::Attempts);
    let whole = vec![(65_536, true); 3];
    assert_eq!(
        send(RetryLayer::new(), Streamed::of(64)).await,
        (whole, attempts)
    );
    let whole = vec![(5, false); 3];
    assert_eq!(
        send(RetryLayer::new(), Full::from("hello")).await,
        (whole, attempts)
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_sent_once_and_whole() {
    let (seen, reason) = send(RetryLayer::new(), Streamed::of(65)).await;
    assert_eq!(seen, [(65 * 1024, true)]);
    assert_eq!(reason, Some(GiveUpReason::Body));
    // A body of known length over the limit is not recorded at all.
    let (seen, reason) = send(RetryLayer::new(), Full::from(vec![7; 65_537])).await;
    assert_eq!((seen, reason), (vec![(65_537, false)], None));
}

#[tokio::test(start_paused = true)]
async fn the_limit_can_be_set() {
    let (seen, _) = send(RetryLayer::new().replay_up_to(65 * 1024), Streamed::of(65)).await;
    assert_eq!(seen.len(), 3);
    let (seen, _) = send(RetryLayer::new().replay_up_to(0), Full::from("hello")).await;
    assert_eq!(seen.len(), 1);
    let (seen, _) = send(RetryLayer::new().replay_up_to(0), Full::from("")).await;
    assert_eq!(seen.len(), 3);
    let (seen, _) = send(
        RetryLayer::new().replay_up_to(usize::MAX),
        Streamed::of(200),
    )
    .await;
    assert_eq!(seen.len(), 3);
}

/// RT-06: the number of frames is limited as well; empty frames are not recorded.
#[tokio::test(start_paused = true)]
async fn a_body_of_too_many_frames_is_not_replayed() {
    let frames = |count, data: &'static [u8]| {
        let data = (0..count).map(move |_| Frame::data(Bytes::from_static(data)));
        Streamed(data.collect()).boxed_unsync()
    };
    let (seen, reason) = send(RetryLayer::new(), frames(1024, b"7")).await;
    assert_eq!(
        (seen, reason),
        (vec![(1024, false); 3], Some(GiveUpReason::Attempts))
    );
    let (seen, reason) = send(RetryLayer::new(), frames(1025, b"7")).await;
    assert_eq!(
        (seen, reason),
        (vec![(1025, false)], Some(GiveUpReason::Body))
    );
    let layer = RetryLayer::new().replay_up_to(16);
    let (seen, reason) = send(layer, frames(100_000, b"")).await;
    assert_eq!(
        (seen, reason),
        (vec![(0, false); 3], Some(GiveUpReason::Attempts))
    );
}
