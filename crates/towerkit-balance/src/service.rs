use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use towerkit_core::{NoProtocol, Protocol, RejectCall, RunPolicy, TrackResponse};

use crate::{
    BalanceFuture, BuildTable, P2c, Picker, balancer::Balancer, instance_policy::InstancePolicy,
    placement::Placement, waiting::Waiting,
};

/// The service that a [`BalanceLayer`](crate::BalanceLayer) makes: sends each call to one of the instances.
///
/// Clones share the instances and their state.
pub struct Balance<S, R = (), C: BuildTable = P2c, P = NoProtocol> {
    balancer: Arc<Balancer<S, R, C>>,
    protocol: P,
}

impl<S, R, C: BuildTable, P> Balance<S, R, C, P> {
    pub(crate) fn new(balancer: Arc<Balancer<S, R, C>>, protocol: P) -> Self {
        Self { balancer, protocol }
    }
}

impl<S, R, C, P, Req> Service<Req> for Balance<S, R, C, P>
where
    S: Service<Req> + Clone,
    R: RunPolicy<Req>,
    C: Picker<Req>,
    P: Protocol<Req> + Clone,
    P::Exchange: RejectCall<S::Response, S::Error>,
{
    type Response =
        <P::Exchange as TrackResponse<S::Response, S::Error>>::Response<InstancePolicy<R>>;
    type Error = S::Error;
    type Future = BalanceFuture<S, R, C, P, Req>;

    /// Is always ready: the request decides the instance.
    #[inline(always)]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let exchange = self.protocol.open(&request, self.protocol.kind(&request));
        match self.balancer.pick(&mut request, &self.protocol) {
            Some(placed) => BalanceFuture::placed(placed, exchange, request),
            None => self.call_without_pick(request, exchange),
        }
    }
}

impl<S, R, C, P> Balance<S, R, C, P>
where
    C: BuildTable,
    P: Clone,
{
    /// Calls any instance, waits for one, or rejects the call: the picker has not found one.
    #[cold]
    #[inline(never)]
    fn call_without_pick<Req>(
        &self,
        mut request: Req,
        exchange: P::Exchange,
    ) -> BalanceFuture<S, R, C, P, Req>
    where
        S: Service<Req> + Clone,
        R: RunPolicy<Req>,
        C: Picker<Req>,
        P: Protocol<Req>,
    {
        match self.balancer.place(&mut request, &self.protocol) {
            Placement::Placed(placed) => BalanceFuture::placed(placed, exchange, request),
            Placement::Rejected(rejection) => BalanceFuture::rejected(rejection, exchange),
            Placement::Failed(error) => BalanceFuture::failed(error, exchange),
            Placement::Unready(unready) => {
                let (balancer, protocol) = (self.balancer.clone(), self.protocol.clone());
                let waiting = Waiting::new(balancer, protocol, request, unready);
                BalanceFuture::waiting(waiting, exchange)
            }
        }
    }
}

impl<S, R, C: BuildTable, P: Clone> Clone for Balance<S, R, C, P> {
    fn clone(&self) -> Self {
        Self {
            balancer: self.balancer.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl<S, R, C: BuildTable, P> fmt::Debug for Balance<S, R, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.balancer.snapshot.load();
        f.debug_struct("Balance")
            .field("instances", &snapshot.active().len())
            .finish_non_exhaustive()
    }
}
