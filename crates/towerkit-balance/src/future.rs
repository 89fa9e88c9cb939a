use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;
use towerkit_core::{
    PolicyFuture, PolicyShape, Protocol, RejectCall, Rejection, RunPolicy, TrackResponse,
};

use crate::{
    BuildTable, Picker,
    instance_policy::InstancePolicy,
    placement::{Placed, Placement},
    waiting::Waiting,
};

/// The future of a [`Balance`](crate::Balance).
///
/// Dropping it cancels the call, or the wait for an instance.
#[pin_project]
pub struct BalanceFuture<S, R, C, P, Req>
where
    S: Service<Req>,
    R: PolicyShape,
    C: BuildTable,
    P: Protocol<Req>,
{
    #[pin]
    call: PolicyFuture<S::Future, InstancePolicy<R>, P::Exchange>,
    /// Present until the call is placed, and boxed because most calls are placed at once.
    unplaced: Unplaced<UnplacedCall<S, R, C, P, Req>>,
}

/// A call that was not placed at once.
enum UnplacedCall<S, R, C, P, Req>
where
    S: Service<Req>,
    C: BuildTable,
{
    Waiting(Waiting<S, R, C, P, Req>),
    Failed(S::Error),
}

impl<S, R, C, P, Req> BalanceFuture<S, R, C, P, Req>
where
    S: Service<Req>,
    R: PolicyShape,
    C: BuildTable,
    P: Protocol<Req>,
{
    #[inline(always)]
    pub(crate) fn placed(placed: Placed<S, R>, exchange: P::Exchange, request: Req) -> Self {
        let Placed {
            mut service,
            in_flight_call,
        } = placed;
        Self {
            call: PolicyFuture::run(in_flight_call, exchange, || service.call(request)),
            unplaced: Unplaced(None),
        }
    }

    #[cold]
    pub(crate) fn rejected(rejection: Rejection, exchange: P::Exchange) -> Self {
        Self {
            call: PolicyFuture::rejected(Box::new(rejection), exchange),
            unplaced: Unplaced(None),
        }
    }

    #[cold]
    pub(crate) fn waiting(waiting: Waiting<S, R, C, P, Req>, exchange: P::Exchange) -> Self {
        Self::unplaced(UnplacedCall::Waiting(waiting), exchange)
    }

    #[cold]
    pub(crate) fn failed(error: S::Error, exchange: P::Exchange) -> Self {
        Self::unplaced(UnplacedCall::Failed(error), exchange)
    }

    fn unplaced(call: UnplacedCall<S, R, C, P, Req>, exchange: P::Exchange) -> Self {
        Self {
            call: PolicyFuture::not_started(exchange),
            unplaced: Unplaced(Some(Box::new(call))),
        }
    }
}

impl<S, R, C, P, Req> Future for BalanceFuture<S, R, C, P, Req>
where
    S: Service<Req> + Clone,
    R: RunPolicy<Req>,
    C: Picker<Req>,
    P: Protocol<Req>,
    P::Exchange: RejectCall<S::Response, S::Error>,
{
    type Output = Result<
        <P::Exchange as TrackResponse<S::Response, S::Error>>::Response<InstancePolicy<R>>,
        S::Error,
    >;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.unplaced.0.is_some()
            && let Err(error) = ready!(self.as_mut().poll_unplaced(cx))
        {
            return Poll::Ready(Err(error));
        }
        self.project().call.poll(cx)
    }
}

impl<S, R, C, P, Req> BalanceFuture<S, R, C, P, Req>
where
    S: Service<Req> + Clone,
    R: RunPolicy<Req>,
    C: Picker<Req>,
    P: Protocol<Req>,
{
    /// Resolves when the call has started, or is rejected.
    #[cold]
    #[inline(never)]
    fn poll_unplaced(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let this = self.project();
        let Some(unplaced) = &mut this.unplaced.0 else {
            return Poll::Ready(Ok(()));
        };
        let placement = match &mut **unplaced {
            UnplacedCall::Waiting(waiting) => ready!(waiting.poll(cx)),
            UnplacedCall::Failed(_) => Placement::Unready(Vec::new()),
        };
        let unplaced = this.unplaced.0.take().map(|unplaced| *unplaced);
        match (placement, unplaced) {
            (Placement::Placed(placed), Some(UnplacedCall::Waiting(mut waiting))) => {
                let Placed {
                    mut service,
                    in_flight_call,
                } = placed;
                let request = waiting.take_request();
                this.call.start(in_flight_call, || service.call(request));
            }
            (Placement::Rejected(rejection), _) => this.call.reject(Box::new(rejection)),
            (Placement::Failed(error), _) | (_, Some(UnplacedCall::Failed(error))) => {
                return Poll::Ready(Err(error));
            }
            _ => unreachable!("a call that waits is placed, rejected or failed"),
        }
        Poll::Ready(Ok(()))
    }
}

impl<S, R, C, P, Req> fmt::Debug for BalanceFuture<S, R, C, P, Req>
where
    S: Service<Req>,
    R: PolicyShape,
    C: BuildTable,
    P: Protocol<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceFuture")
            .field("is_placed", &self.unplaced.0.is_none())
            .finish_non_exhaustive()
    }
}

/// The state of a call before it is placed. Its drop is one comparison for a call that was placed at once.
struct Unplaced<T>(Option<Box<T>>);

impl<T> Drop for Unplaced<T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.is_some() {
            drop_unplaced(&mut self.0);
        }
    }
}

#[cold]
#[inline(never)]
fn drop_unplaced<T>(unplaced: &mut Option<Box<T>>) {
    *unplaced = None;
}
