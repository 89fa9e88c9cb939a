//! What the errors of a client say, and those of HTTP/2.

use std::error::Error;

use h2::Reason;
use towerkit_core::BoxError;

use crate::{KnownErrors, ReadErrors};

/// Reads the errors of a client, of any type that implements [`Error`], down to their first cause.
///
/// Besides what [`KnownErrors`] knows, a request was not processed if the server refused its stream: with `REFUSED_STREAM`, or with a
/// `GOAWAY` that leaves the stream out (RFC 9113, sections 6.8 and 8.7).
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientErrors;

/// Reads the errors of a client as [`ClientErrors`] does, where they are [`BoxError`]s.
#[derive(Debug, Clone, Copy, Default)]
pub struct BoxedClientErrors;

impl<E: Error + 'static> ReadErrors<E> for ClientErrors {
    fn as_error(error: &E) -> Option<&(dyn Error + 'static)> {
        Some(error)
    }

    fn is_unsent(cause: &(dyn Error + 'static)) -> bool {
        is_unsent(cause)
    }
}

impl ReadErrors<BoxError> for BoxedClientErrors {
    fn as_error(error: &BoxError) -> Option<&(dyn Error + 'static)> {
        Some(error.as_ref())
    }

    fn is_unsent(cause: &(dyn Error + 'static)) -> bool {
        is_unsent(cause)
    }
}

fn is_unsent(cause: &(dyn Error + 'static)) -> bool {
    <KnownErrors as ReadErrors<BoxError>>::is_unsent(cause)
        || cause.downcast_ref().is_some_and(is_refused_stream)
}

/// `h2` gives the error of a `GOAWAY` that the server sent only to streams that this `GOAWAY` leaves out.
fn is_refused_stream(error: &h2::Error) -> bool {
    let rejected = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (rejected || error.is_go_away())
}
