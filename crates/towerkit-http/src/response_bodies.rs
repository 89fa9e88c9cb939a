use bytes::Bytes;
use http::Response;
use http_body::Body;
use towerkit_core::{InFlightCall, PolicyShape};

use crate::{
    InspectError, TrackedBody, errors, rejection_response::ResponseHeaders,
    tracked_body::CallProgress,
};

/// Chooses the type of the response bodies of a layer, where the inner service has bodies of type `B`.
pub trait ResponseBodies<B: Body> {
    /// The response body of a layer with policies `R`.
    type Body<R: PolicyShape>;

    /// Wraps the body of an admitted call; `track` follows the body to its end.
    fn wrap<R: PolicyShape>(body: B, track: impl FnOnce(B) -> TrackedBody<B, R>) -> Self::Body<R>;

    /// Makes the body of the response to a rejected call.
    fn rejection<R: PolicyShape>(body: Bytes) -> Self::Body<R>
    where
        B::Data: From<Bytes>;
}

/// Wraps bodies of any type in a [`TrackedBody`].
#[derive(Debug, Clone, Copy, Default)]
pub struct TrackedBodies;

impl<B: Body> ResponseBodies<B> for TrackedBodies {
    type Body<R: PolicyShape> = TrackedBody<B, R>;

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
        TrackedBody::from_rejection(body)
    }
}

#[cfg(feature = "axum")]
pub use of_axum::AxumBodies;

#[cfg(feature = "axum")]
mod of_axum {
    use bytes::Bytes;
    use http_body::Body;
    use towerkit_core::{BoxError, PolicyShape, TypeBool};

    use super::ResponseBodies;
    use crate::TrackedBody;

    /// Makes [axum's own body](axum::body::Body) for policies that do not track the end of calls, which saves axum a box.
    ///
    /// Other policies get a [`TrackedBody`].
    #[derive(Debug, Clone, Copy, Default)]
    pub struct AxumBodies;

    impl<B> ResponseBodies<B> for AxumBodies
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        type Body<R: PolicyShape> =
            <R::NeedsEnd as TypeBool>::Choose<TrackedBody<B, R>, axum::body::Body>;

        #[inline(always)]
        fn wrap<R: PolicyShape>(
            body: B,
            track: impl FnOnce(B) -> TrackedBody<B, R>,
        ) -> Self::Body<R> {
            R::NeedsEnd::choose(body, track, axum::body::Body::new)
        }

        fn rejection<R: PolicyShape>(body: Bytes) -> Self::Body<R> {
            R::NeedsEnd::choose(body, TrackedBody::from_rejection, axum::body::Body::from)
        }
    }
}

/// Tracks a response to the end of its body; `read` reads its head.
///
/// A response is about 150 bytes, which this function moves once for both protocols.
#[inline(always)]
pub(crate) fn track<B: Body, E, R: PolicyShape, K: InspectError<E>, W: ResponseBodies<B>>(
    result: Result<Response<B>, E>,
    in_flight_call: &mut InFlightCall<R>,
    read: impl FnOnce(&Response<B>) -> CallProgress,
) -> Result<Response<W::Body<R>>, E> {
    match result {
        Ok(response) if !InFlightCall::<R>::IS_TRACKED => {
            Ok(response.map(|body| W::wrap(body, TrackedBody::untracked)))
        }
        Ok(mut response) => {
            let progress = read(&response);
            in_flight_call.on_response_head(&progress.end());
            in_flight_call.add_response_headers(&mut ResponseHeaders(response.headers_mut()));
            if progress.content_length == 0 || response.body().is_end_stream() {
                in_flight_call.finish_with(|| progress.without_trailers());
            }
            let in_flight_call = in_flight_call.take();
            let track = |body| TrackedBody::track(body, in_flight_call, progress);
            Ok(response.map(|body| W::wrap(body, track)))
        }
        Err(error) => {
            in_flight_call.finish_with(|| errors::call_end::<K, E>(&error));
            Err(error)
        }
    }
}
