use std::{any::Any, error::Error, io};

use hyper_util::client::legacy;
use towerkit_core::{CallEnd, Outcome, Rejection, as_error, causes};

/// Reads the errors of a service that returned no response.
#[diagnostic::on_unimplemented(
    message = "the errors of a client cannot be read: `{E}` does not implement `std::error::Error`",
    label = "the service's error is `{E}`",
    note = "where it is `towerkit_core::BoxError`, use `.protocol(Http::new().boxed_client())` or `.protocol(Grpc::new().boxed_client())`",
    note = "otherwise use `.http()` or `.grpc()`, which take an error of any type and know the common ones"
)]
pub trait InspectError<E> {
    /// Returns the value as an [`Error`] with sources, if its type is known to be one.
    fn as_error(error: &E) -> Option<&(dyn Error + 'static)>;

    /// Returns true if an error, or one of its sources, proves that the request was not processed.
    fn is_unsent(source: &(dyn Error + 'static)) -> bool;
}

/// Reads the errors of common types, and accepts errors of any type.
///
/// The common types are [`BoxError`](towerkit_core::BoxError), [`io::Error`], and the [error](legacy::Error) of hyper-util's client. A
/// request was not sent if the connection was refused, or if hyper-util's client could not connect.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommonErrors;

impl<E: 'static> InspectError<E> for CommonErrors {
    #[inline]
    fn as_error(error: &E) -> Option<&(dyn Error + 'static)> {
        as_error(error).or_else(|| {
            let error: &dyn Any = error;
            Some(error.downcast_ref::<legacy::Error>()?)
        })
    }

    fn is_unsent(source: &(dyn Error + 'static)) -> bool {
        is_connect_error(source)
    }
}

/// Returns true for a failed attempt to connect. Other errors of a connection may come after the request was sent.
fn is_connect_error(source: &(dyn Error + 'static)) -> bool {
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    source.downcast_ref().is_some_and(is_refused)
        || source.downcast_ref().is_some_and(legacy::Error::is_connect)
}

#[cfg(feature = "client")]
pub use of_clients::{BoxedClientErrors, ClientErrors};

#[cfg(feature = "client")]
mod of_clients {
    use std::error::Error;

    use towerkit_core::BoxError;

    use super::{InspectError, is_connect_error, is_refused_stream};

    /// Reads the errors of a client, of any type that implements [`Error`], down to their first source.
    ///
    /// In addition to the errors that [`CommonErrors`](crate::CommonErrors) reads, a request was not processed if the server refused its
    /// HTTP/2 stream: with `REFUSED_STREAM`, or with a `GOAWAY` that leaves the stream out ([RFC 9113, section 8.7]).
    ///
    /// [RFC 9113, section 8.7]: https://www.rfc-editor.org/rfc/rfc9113#section-8.7
    #[derive(Debug, Clone, Copy, Default)]
    pub struct ClientErrors;

    /// Reads the errors of a client as [`ClientErrors`] does, if their type is [`BoxError`].
    #[derive(Debug, Clone, Copy, Default)]
    pub struct BoxedClientErrors;

    impl<E: Error + 'static> InspectError<E> for ClientErrors {
        fn as_error(error: &E) -> Option<&(dyn Error + 'static)> {
            Some(error)
        }

        fn is_unsent(source: &(dyn Error + 'static)) -> bool {
            is_unsent(source)
        }
    }

    impl InspectError<BoxError> for BoxedClientErrors {
        fn as_error(error: &BoxError) -> Option<&(dyn Error + 'static)> {
            Some(error.as_ref())
        }

        fn is_unsent(source: &(dyn Error + 'static)) -> bool {
            is_unsent(source)
        }
    }

    fn is_unsent(source: &(dyn Error + 'static)) -> bool {
        is_connect_error(source) || source.downcast_ref().is_some_and(is_refused_stream)
    }
}

/// Returns true if the server refused the stream. `h2` returns a remote `GOAWAY` only for streams that the `GOAWAY` leaves out.
#[cfg(feature = "h2")]
#[doc(hidden)]
#[must_use]
pub fn is_refused_stream(error: &h2::Error) -> bool {
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (is_refused || error.is_go_away())
}

/// Returns the end of a call that got this error instead of a response.
pub(crate) fn call_end<K: InspectError<E>, E>(error: &E) -> CallEnd {
    let rejection = K::as_error(error)
        .and_then(|error| causes(error).find_map(<dyn Error>::downcast_ref::<Rejection>));
    match rejection {
        Some(rejection) => CallEnd::rejected_for(rejection.reason()),
        None => CallEnd::new(Outcome::Failure),
    }
}

/// Returns true if the error proves that the request was not processed.
pub(crate) fn is_unsent<K: InspectError<E>, E>(error: &E) -> bool {
    K::as_error(error).is_some_and(|error| causes(error).any(K::is_unsent))
}
