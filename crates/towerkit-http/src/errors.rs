use std::{any::Any, error::Error, io};

use hyper_util::client::legacy;
use towerkit_core::{CallEnd, Outcome, Rejection, as_error, causes};

/// Reads the errors of a service: what became of a request that got no response.
#[diagnostic::on_unimplemented(
    message = "the errors of a client cannot be read: `{E}` does not implement `std::error::Error`",
    label = "the service's error is `{E}`",
    note = "where it is `towerkit_core::BoxError`, use `.protocol(Http::new().boxed_client())` or `.protocol(Grpc::new().boxed_client())`",
    note = "otherwise use `.http()` or `.grpc()`, which take an error of any type and know the common ones"
)]
pub trait ReadErrors<E> {
    /// Returns the error as one whose causes can be followed, if its type is known to be one.
    fn as_error(error: &E) -> Option<&(dyn Error + 'static)>;

    /// Returns true if an error, or a cause of one, says that the request was certainly not processed.
    fn is_unsent(cause: &(dyn Error + 'static)) -> bool;
}

/// Reads errors of a few types, and takes any other as it is: [`BoxError`](towerkit_core::BoxError), [`io::Error`], and the error of
/// hyper-util's client.
///
/// A request was not sent if the connection was refused, or if hyper-util's client could not connect.
#[derive(Debug, Clone, Copy, Default)]
pub struct KnownErrors;

impl<E: 'static> ReadErrors<E> for KnownErrors {
    #[inline]
    fn as_error(error: &E) -> Option<&(dyn Error + 'static)> {
        as_error(error).or_else(|| {
            let error: &dyn Any = error;
            Some(error.downcast_ref::<legacy::Error>()?)
        })
    }

    fn is_unsent(cause: &(dyn Error + 'static)) -> bool {
        found_no_connection(cause)
    }
}

/// An attempt to connect that failed. Other errors of a connection, such as an unreachable host, may come after the request was sent.
fn found_no_connection(cause: &(dyn Error + 'static)) -> bool {
    let rejected = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    cause.downcast_ref().is_some_and(rejected)
        || cause.downcast_ref().is_some_and(legacy::Error::is_connect)
}

/// How a call ended that got this error instead of a response.
pub(crate) fn end<K: ReadErrors<E>, E>(error: &E) -> CallEnd {
    let rejection = K::as_error(error)
        .and_then(|error| causes(error).find_map(<dyn Error>::downcast_ref::<Rejection>));
    match rejection {
        Some(rejection) => CallEnd::rejected_for(rejection.reason()),
        None => CallEnd::new(Outcome::Failure),
    }
}

/// Whether the request was certainly not processed.
pub(crate) fn is_unsent<K: ReadErrors<E>, E>(error: &E) -> bool {
    K::as_error(error).is_some_and(|error| causes(error).any(K::is_unsent))
}
