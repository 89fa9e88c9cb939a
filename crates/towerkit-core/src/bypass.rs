use std::task::{Context, Poll};

use tower_service::Service;

/// A service with a way around its middleware, which [`LayerExt::only`](crate::LayerExt::only) needs.
///
/// The services of guards and observers implement it. A driver implements it to support `.only(..)`, which decides for each call if
/// it goes through the driver or around it. Without the trait `.only(..)` does not compile:
///
/// ```compile_fail,E0599
/// use tower::{Layer, Service, service_fn};
/// use towerkit_core::{LayerExt, OperationSet, Plain, Rejection};
///
/// #[derive(Clone)]
/// struct Driver<P>(P);
///
/// impl<P> LayerExt for Driver<P> {
///     type Protocol = P;
///     type With<Q> = Driver<Q>;
///     fn current_protocol(&self) -> &P { &self.0 }
///     fn protocol<Q>(self, protocol: Q) -> Driver<Q> { Driver(protocol) }
/// }
///
/// impl<S, P> Layer<S> for Driver<P> {
///     type Service = tower::util::MapRequest<S, fn(u32) -> u32>;
///     fn layer(&self, inner: S) -> Self::Service { tower::util::MapRequest::new(inner, |n| n + 1) }
/// }
///
/// let layer = Driver(Plain::new("add")).only(OperationSet::exact("add"));
/// let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, Rejection>(n) }));
/// let _ = service.call(1);
/// ```
#[diagnostic::on_unimplemented(
    message = "calls of type `{Req}` cannot pass `{Self}` by",
    label = "`.only(..)` needs a way around this service",
    note = "implement `towerkit_core::Bypass` for the service"
)]
pub trait Bypass<Req>: Service<Req> {
    /// Polls readiness for a call that goes through the middleware ([`call`](Service::call)) or around it
    /// ([`bypass`](Self::bypass)).
    ///
    /// The default is [`poll_ready`](Service::poll_ready). Override it if that can be ready while the inner service is not.
    fn poll_ready_for_bypass(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_ready(cx)
    }

    /// Calls the inner service directly.
    fn bypass(&mut self, request: Req) -> Self::Future;
}
