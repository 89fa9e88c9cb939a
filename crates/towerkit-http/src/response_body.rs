use bytes::Bytes;
use http_body::Body;
use towerkit_core::PolicyShape;

use crate::TrackedBody;

/// Which body a response has behind a layer, where it had `B` before.
pub trait ResponseBody<B: Body> {
    /// The body behind a layer with these policies.
    type Of<R: PolicyShape>;

    /// Makes it of the body of an admitted call, which `track` follows to its end.
    fn wrap<R: PolicyShape>(body: B, track: impl FnOnce(B) -> TrackedBody<B, R>) -> Self::Of<R>;

    /// Makes the body of an answer to a rejection.
    fn rejection<R: PolicyShape>(body: Bytes) -> Self::Of<R>
    where
        B::Data: From<Bytes>;
}

/// A [`TrackedBody`], around a body of any type.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tracked;

impl<B: Body> ResponseBody<B> for Tracked {
    type Of<R: PolicyShape> = TrackedBody<B, R>;

    #[inline(always)]
    fn wrap<R: PolicyShape>(
        body: B,
        track: impl FnOnce(B) -> TrackedBody<B, R>,
    ) -> TrackedBody<B, R> {
        track(body)
    }

    fn rejection<R: PolicyShape>(body: Bytes) -> TrackedBody<B, R>
    where
        B::Data: From<Bytes>,
    {
        TrackedBody::of_rejection(body)
    }
}

#[cfg(feature = "axum")]
pub use in_axum::InAxum;

#[cfg(feature = "axum")]
mod in_axum {
    use bytes::Bytes;
    use http_body::Body;
    use towerkit_core::{BoxError, PolicyShape, TypeBool};

    use super::ResponseBody;
    use crate::TrackedBody;

    /// Axum's own body where no policy needs the end of its calls, which axum does not have to box once more; otherwise a
    /// [`TrackedBody`].
    #[derive(Debug, Clone, Copy, Default)]
    pub struct InAxum;

    impl<B> ResponseBody<B> for InAxum
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        type Of<R: PolicyShape> =
            <R::NeedsEnd as TypeBool>::Choose<TrackedBody<B, R>, axum::body::Body>;

        #[inline(always)]
        fn wrap<R: PolicyShape>(
            body: B,
            track: impl FnOnce(B) -> TrackedBody<B, R>,
        ) -> Self::Of<R> {
            R::NeedsEnd::choose(body, track, axum::body::Body::new)
        }

        fn rejection<R: PolicyShape>(body: Bytes) -> Self::Of<R> {
            R::NeedsEnd::choose(body, TrackedBody::of_rejection, axum::body::Body::from)
        }
    }
}
