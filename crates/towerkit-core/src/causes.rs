use std::{any::Any, error::Error, io, iter};

use crate::Rejection;

/// Any error, boxed. Most services without a wire protocol use it; it can carry a [`Rejection`].
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Returns a value as an error with a chain of sources, if its type is [`BoxError`], [`io::Error`] or [`Rejection`].
///
/// For a generic type without a bound there is no other way to find out if it implements [`Error`].
#[doc(hidden)]
#[inline(always)]
pub fn as_error<E: 'static>(error: &E) -> Option<&(dyn Error + 'static)> {
    let any: &dyn Any = error;
    if let Some(boxed) = any.downcast_ref::<BoxError>() {
        return Some(boxed.as_ref());
    }
    if let Some(error) = any.downcast_ref::<io::Error>() {
        return Some(error);
    }
    Some(any.downcast_ref::<Rejection>()?)
}

/// Iterates over an error and its [sources](Error::source), down to the first cause.
///
/// The source of an [`io::Error`] is the source of the error inside it; this iterator returns the error inside it, too.
#[doc(hidden)]
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| {
        let inside = error.downcast_ref().and_then(io::Error::get_ref);
        match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;
    use crate::RejectionReason;

    #[derive(Debug)]
    struct Outer(BoxError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self.0.as_ref())
        }
    }

    fn found<E: 'static>(error: &E) -> bool {
        as_error(error).is_some_and(|error| causes(error).any(<dyn Error>::is::<Rejection>))
    }

    #[test]
    fn a_cause_is_found_however_deep_it_is() {
        let rejection = || Rejection::new(RejectionReason::Overloaded, "test");
        assert!(found(&rejection()));
        assert!(found(&BoxError::from(rejection())));
        assert!(found(&io::Error::other(rejection())));
        let outer = Outer(io::Error::other(Outer(rejection().into())).into());
        assert!(found(&BoxError::from(outer)));
        assert!(!found(&io::Error::other("reset")));
        assert!(!found(&"an error of some type"));
    }
}
