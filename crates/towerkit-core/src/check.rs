use std::{fmt, marker::PhantomData};

use tower_layer::Layer;
use tower_service::Service;

/// Checks at compile time that a stack is a [`Service`] of requests of type `Req`.
///
/// A call such as `.oneshot(request)` or `.ready()` on a stack that lacks a bound ends in the error E0599, "the method exists but its
/// trait bounds were not satisfied", without the bound that matters. In place of the call, `check` makes the compiler name it: the
/// layer without a protocol, the error type that cannot carry a rejection, or the request body that cannot be replayed.
///
/// ```
/// use tower::ServiceBuilder;
/// use towerkit_core::{BoxError, LayerExt, check};
/// # use towerkit_core::{Call, CallEnd, Observer, Policy, observe};
/// # struct Calls;
/// # impl Policy for Calls { type CallState = (); fn finish(&self, _: (), _: &CallEnd) {} }
/// # impl<Req> Observer<Req> for Calls { fn start(&self, _: &mut Call<'_, Req>) {} }
///
/// let service = ServiceBuilder::new()
///     .layer(observe(Calls).plain("double"))
///     .service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) });
///
/// check::<u32, _>(&service);
/// ```
///
/// Without `.plain("double")` the message is "`NoProtocol` does not read requests of type `u32`", and a note names the method to add.
///
/// `check` does nothing at run time. [`check_layer`] does the same between two layers.
pub const fn check<Req, S: Service<Req>>(_service: &S) {}

/// Makes a layer that checks, at compile time, that everything below it is a [`Service`] of requests of type `Req`.
///
/// In a long [`ServiceBuilder`] chain it finds the layer that causes a compile error: it compiles above the layers that are correct,
/// and below it the compiler names the missing bound, as [`check`] does.
///
/// ```
/// use tower::ServiceBuilder;
/// use towerkit_core::{BoxError, check_layer};
///
/// let service = ServiceBuilder::new()
///     .map_request(|n: u16| u32::from(n))
///     .layer(check_layer::<u32>())
///     .service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) });
/// # towerkit_core::check::<u16, _>(&service);
/// ```
///
/// [`ServiceBuilder`]: https://docs.rs/tower/latest/tower/struct.ServiceBuilder.html
#[must_use]
pub const fn check_layer<Req>() -> CheckLayer<Req> {
    CheckLayer(PhantomData)
}

/// The layer that [`check_layer`] makes. Its service is the inner service itself.
#[doc(hidden)]
pub struct CheckLayer<Req>(PhantomData<fn(Req)>);

impl<S: Service<Req>, Req> Layer<S> for CheckLayer<Req> {
    type Service = S;

    fn layer(&self, inner: S) -> S {
        inner
    }
}

impl<Req> Clone for CheckLayer<Req> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<Req> fmt::Debug for CheckLayer<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckLayer")
    }
}
