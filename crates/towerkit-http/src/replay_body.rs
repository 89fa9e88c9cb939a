use bytes::Bytes;
use http_body::Body;
use http_body_util::{
    BodyExt, Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

use crate::BodyRecording;

/// A request body that can be sent more than once.
///
/// Retry, hedge and fallback layers send the same request to the service again, so that each attempt has the request's own body type:
///
/// | body | replayed |
/// |---|---|
/// | [`Full`], [`Empty`], [`String`] | by a clone |
/// | [`BoxBody`], [`UnsyncBoxBody`] | from a [`BodyRecording`] |
/// | [`axum::body::Body`](https://docs.rs/axum/0.8/axum/body/struct.Body.html) (feature `axum`) | from a [`BodyRecording`] |
/// | [`tonic::body::Body`](https://docs.rs/tonic/0.14/tonic/body/struct.Body.html) (feature `tonic`) | from a [`BodyRecording`] |
/// | [`reqwest::Body`](https://docs.rs/reqwest/0.13/reqwest/struct.Body.html) (feature `reqwest`) | by a clone of bytes in memory, otherwise from a [`BodyRecording`] |
///
/// Box any other body, outside the layer:
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use http_body::Body;
/// use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
///
/// fn boxed<B>(request: Request<B>) -> Request<UnsyncBoxBody<Bytes, B::Error>>
/// where
///     B: Body<Data = Bytes> + Send + 'static,
/// {
///     request.map(BodyExt::boxed_unsync)
/// }
/// # boxed(Request::new(http_body_util::Full::<Bytes>::default()));
/// ```
#[diagnostic::on_unimplemented(
    message = "a request with a body of type `{Self}` cannot be sent again",
    label = "this layer sends requests more than once, and cannot replay their body",
    note = "box the body: `request.map(axum::body::Body::new)` or, with http-body-util, `request.map(BodyExt::boxed_unsync)`",
    note = "bodies of axum, tonic and reqwest need the feature `axum`, `tonic` or `reqwest` of towerkit-http"
)]
pub trait ReplayBody: Body<Data = Bytes> + Sized {
    /// The data from which further bodies are made.
    type Recording;

    /// Starts to record the body, and returns the body of the first attempt.
    ///
    /// A recording of more than `max_bytes`, or of another length than a known `content_length`, may not be replayed.
    fn record(self, max_bytes: u64, content_length: Option<u64>) -> (Self, Self::Recording);

    /// Makes the body of a further attempt; `None` if the whole body is not, or not yet, at hand.
    fn replay(recording: &Self::Recording) -> Option<Self>;
}

macro_rules! replay_by_clone {
    ($([$($generics:tt)*] $body:ty;)*) => {$(
        impl<$($generics)*> ReplayBody for $body {
            type Recording = Self;

            fn record(self, _max_bytes: u64, _content_length: Option<u64>) -> (Self, Self) {
                (self.clone(), self)
            }

            fn replay(recording: &Self) -> Option<Self> {
                Some(recording.clone())
            }
        }
    )*};
}

replay_by_clone! {
    [] Full<Bytes>;
    [] Empty<Bytes>;
    [] String;
}

macro_rules! replay_from_recording {
    ($($(#[$attribute:meta])* [$($generics:tt)*] $body:ty, $wrap:expr;)*) => {$(
        $(#[$attribute])*
        impl<$($generics)*> ReplayBody for $body {
            type Recording = BodyRecording<Self>;

            fn record(self, max_bytes: u64, content_length: Option<u64>) -> (Self, Self::Recording) {
                BodyRecording::start(self, max_bytes, content_length, $wrap)
            }

            fn replay(recording: &Self::Recording) -> Option<Self> {
                recording.replay($wrap)
            }
        }
    )*};
}

replay_from_recording! {
    [E: 'static] UnsyncBoxBody<Bytes, E>, BodyExt::boxed_unsync;
    [E: 'static] BoxBody<Bytes, E>, BodyExt::boxed;
    #[cfg(feature = "axum")]
    [] axum::body::Body, axum::body::Body::new;
    #[cfg(feature = "tonic")]
    [] tonic::body::Body, tonic::body::Body::new;
}

/// A clone keeps the bytes where reqwest can follow a redirect with them; it cannot with a stream.
#[cfg(feature = "reqwest")]
impl ReplayBody for reqwest::Body {
    type Recording = Result<Bytes, BodyRecording<Self>>;

    fn record(self, max_bytes: u64, content_length: Option<u64>) -> (Self, Self::Recording) {
        match self.as_bytes() {
            Some(bytes) => {
                let bytes = Bytes::copy_from_slice(bytes);
                (bytes.clone().into(), Ok(bytes))
            }
            None => {
                let (first, recording) =
                    BodyRecording::start(self, max_bytes, content_length, Self::wrap);
                (first, Err(recording))
            }
        }
    }

    fn replay(recording: &Self::Recording) -> Option<Self> {
        match recording {
            Ok(bytes) => Some(bytes.clone().into()),
            Err(recording) => recording.replay(Self::wrap),
        }
    }
}
