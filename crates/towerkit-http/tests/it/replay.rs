//! RT-06: request bodies that can be replayed, and the limits on that.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use towerkit_core::ReplayRequest;
use towerkit_http::{Grpc, Http, RecordedRequest, ReplayBody};

/// A body of several frames, of unknown length, with trailers.
#[derive(Debug)]
struct Streamed(VecDeque<Frame<Bytes>>);

impl Streamed {
    fn of(parts: &[&'static str]) -> UnsyncBoxBody<Bytes, Infallible> {
        let data = parts
            .iter()
            .map(|part| Frame::data(Bytes::from_static(part.as_bytes())));
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", "7".parse().unwrap());
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

fn record<B: ReplayBody>(body: B, max_bytes: usize) -> (B, Option<RecordedRequest<B>>) {
    let (attempt, recorded) = Http::new().record(Request::new(body), max_bytes);
    (attempt.into_body(), recorded)
}

async fn read<B>(body: B) -> (Bytes, Option<HeaderMap>)
where
    B: Body<Data = Bytes, Error = Infallible>,
{
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    (collected.to_bytes(), trailers)
}

#[tokio::test]
async fn every_attempt_sends_the_whole_body_and_its_trailers() {
    let (first, recorded) = record(Streamed::of(&["a", "bc", "d"]), 64);
    let recorded = recorded.unwrap();
    let mut bodies = vec![read(first).await];
    for _ in 0..2 {
        bodies.push(read(Http::new().replay(&recorded).unwrap().into_body()).await);
    }
    for (data, trailers) in bodies {
        assert_eq!(data, "abcd");
        assert_eq!(trailers.unwrap()["checksum"], "7");
    }
}

/// RT-06: after any number of frames.
#[tokio::test]
async fn a_dropped_attempt_leaves_the_rest_to_the_next() {
    for frames in 0..=4 {
        let (mut first, recorded) = record(Streamed::of(&["a", "bc", "d"]), 64);
        let recorded = recorded.unwrap();
        for _ in 0..frames {
            first.frame().await.unwrap().unwrap();
        }
        drop(first);
        let mut second = Http::new().replay(&recorded).unwrap().into_body();
        second.frame().await.unwrap().unwrap();
        drop(second);
        let (data, trailers) = read(Http::new().replay(&recorded).unwrap().into_body()).await;
        assert_eq!(data, "abcd", "{frames}");
        assert_eq!(trailers.unwrap()["checksum"], "7");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_sent_whole_and_not_replayed() {
    let (first, recorded) = record(Streamed::of(&["abc", "def", "ghi"]), 5);
    let recorded = recorded.unwrap();
    let (data, trailers) = read(first).await;
    assert_eq!(data, "abcdefghi");
    assert_eq!(trailers.unwrap()["checksum"], "7");
    assert!(Http::new().replay(&recorded).is_none());
}

#[tokio::test]
async fn a_body_that_declares_too_much_is_not_recorded() {
    let (first, recorded) = record(Full::<Bytes>::from("abcdef"), 5);
    assert!(recorded.is_none());
    assert_eq!(read(first).await.0, "abcdef");
    assert!(record(Full::<Bytes>::from("abcde"), 5).1.is_some());
}

/// Empty frames are not recorded, and frames of a byte each up to a limit.
#[tokio::test]
async fn recorded_frames_are_limited() {
    let body = |parts: &[&'static str], times| Streamed::of(&parts.repeat(times));
    let (first, recorded) = record(body(&["", "a", ""], 16), 16);
    read(first).await;
    let mut again = Http::new().replay(&recorded.unwrap()).unwrap().into_body();
    for _ in 0..16 {
        let frame = again.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "a");
    }
    let (first, recorded) = record(body(&["a"], 1024), 1 << 20);
    assert_eq!(read(first).await.0.len(), 1024);
    assert!(Http::new().replay(&recorded.unwrap()).is_some());
    let (first, recorded) = record(body(&["a"], 1025), 1 << 20);
    assert_eq!(read(first).await.0.len(), 1025);
    assert!(Http::new().replay(&recorded.unwrap()).is_none());
}

#[tokio::test]
async fn a_body_of_another_length_than_declared_is_not_replayed() {
    for (length, is_whole) in [("3", false), ("4", true), ("5", false)] {
        let mut request = Request::new(Streamed::of(&["ab", "cd"]));
        let value = length.parse().unwrap();
        request.headers_mut().insert("content-length", value);
        let (first, recorded) = Http::new().record(request, 64);
        read(first.into_body()).await;
        let again = Http::new().replay(&recorded.unwrap());
        assert_eq!(again.is_some(), is_whole, "{length}");
    }
}

#[tokio::test]
async fn a_body_is_not_replayed_while_an_attempt_reads_it() {
    let (mut first, recorded) = record(Streamed::of(&["a", "b"]), 64);
    let recorded = recorded.unwrap();
    first.frame().await.unwrap().unwrap();
    assert!(Http::new().replay(&recorded).is_none());
    let (rest, _) = read(first).await;
    assert_eq!(rest, "b");
    // The recording is complete now, so that several attempts may read it at once.
    let one = Http::new().replay(&recorded).unwrap().into_body();
    let other = Http::new().replay(&recorded).unwrap().into_body();
    assert_eq!(read(one).await.0, "ab");
    assert_eq!(read(other).await.0, "ab");
}

#[tokio::test]
async fn every_attempt_declares_the_length() {
    let (first, recorded) = record(Full::<Bytes>::from("abcde"), 64);
    let recorded = recorded.unwrap();
    assert_eq!(first.size_hint().exact(), Some(5));
    drop(first);
    let second = Http::new().replay(&recorded).unwrap().into_body();
    assert_eq!(second.size_hint().exact(), Some(5));
    assert_eq!(read(second).await.0, "abcde");
    let third = Http::new().replay(&recorded).unwrap().into_body();
    assert_eq!(third.size_hint().exact(), Some(5));
    assert!(!third.is_end_stream());
}

#[tokio::test]
async fn a_request_without_a_body_is_replayed_without_one() {
    let request = Request::get("/there")
        .header("x-a", "1")
        .body(Empty::<Bytes>::new());
    let (first, recorded) = Http::new().record(request.unwrap(), 0);
    assert!(first.body().is_end_stream());
    let again = Http::new().replay(&recorded.unwrap()).unwrap();
    assert!(again.body().is_end_stream());
    assert_eq!(
        (again.uri().path(), &again.headers()["x-a"]),
        ("/there", &"1".parse().unwrap())
    );
}

/// RFC 9110, section 9.2.2.
#[test]
fn idempotent_methods_make_idempotent_requests() {
    let is_idempotent = |method: &Method| {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = method.clone();
        Http::new().is_idempotent(&request)
    };
    for method in [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::TRACE,
        Method::PUT,
        Method::DELETE,
    ] {
        assert_eq!(is_idempotent(&method), Some(true), "{method}");
    }
    for method in [Method::POST, Method::PATCH, Method::CONNECT] {
        assert_eq!(is_idempotent(&method), Some(false), "{method}");
    }
    let request = Request::post("/s.S/M").header("content-type", "application/grpc");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(Http::new().is_idempotent(&request), None);
    assert_eq!(Grpc::new().is_idempotent(&request), None);
}
