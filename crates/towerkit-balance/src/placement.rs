use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tower_service::Service;
use towerkit_core::{
    AttemptedInstances, Call, DescribeRequest, InFlightCall, PolicyShape, Rejection,
    RejectionReason, RunPolicy,
};

use crate::{
    BuildTable, Picker,
    balancer::Balancer,
    instance_policy::InstancePolicy,
    snapshot::{Candidate, View},
};

/// The number of choices of the picker before all instances are looked at.
const DRAWS: u32 = 3;
/// The number of instances that are not ready for which a call waits at a time.
pub(crate) const MAX_UNREADY: usize = 3;

/// The service of an instance, polled ready, and the call that its policies have admitted.
pub(crate) struct Placed<S, R: PolicyShape> {
    pub(crate) service: S,
    pub(crate) in_flight_call: InFlightCall<InstancePolicy<R>>,
}

/// The result of a look at all instances.
pub(crate) enum Placement<S, R: PolicyShape, E> {
    Placed(Placed<S, R>),
    /// These may be ready later; there are none if there are no instances.
    Unready(Vec<Candidate<S, R>>),
    Rejected(Rejection),
    /// The services failed to get ready; the error of one of them.
    Failed(E),
}

/// The result of the try to place a call at one instance.
pub(crate) enum Tried<S, R: PolicyShape, E> {
    Placed(Placed<S, R>),
    Unready(S),
    Rejected(Rejection),
    Failed(E),
}

impl<S, R, C> Balancer<S, R, C>
where
    R: PolicyShape,
    C: BuildTable,
{
    /// Chooses an instance by the picker, up to three times.
    #[inline(always)]
    pub(crate) fn pick<Req, P>(&self, request: &mut Req, protocol: &P) -> Option<Placed<S, R>>
    where
        S: Service<Req> + Clone,
        R: RunPolicy<Req>,
        C: Picker<Req>,
        P: DescribeRequest<Req>,
    {
        let snapshot = self.snapshot.load();
        let candidates = snapshot.active();
        if candidates.is_empty() {
            return None;
        }
        for draw in 0..DRAWS {
            let mut call = Call::new(request, protocol);
            let index = self.choose(&snapshot.table, candidates, &mut call, draw);
            let Candidate { service, policy } = candidates.get(index)?;
            let id = policy.stats.id();
            if policy.stats.is_ejected() || AttemptedInstances::has_current(id) {
                continue;
            }
            let mut service = service.clone();
            match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending => continue,
                Poll::Ready(Err(_)) => {
                    self.on_failed_readiness(&policy.stats);
                    continue;
                }
            }
            if let Ok(in_flight_call) = InFlightCall::start(policy, &mut call) {
                AttemptedInstances::record(id);
                return Some(Placed {
                    service,
                    in_flight_call,
                });
            }
        }
        None
    }

    #[inline(always)]
    fn choose<Req>(
        &self,
        table: &C::Table,
        candidates: &[Candidate<S, R>],
        call: &mut Call<'_, Req>,
        draw: u32,
    ) -> usize
    where
        C: Picker<Req>,
    {
        let now = if C::MEASURES_LATENCY {
            call.now(&self.shared.config.clock)
        } else {
            0
        };
        self.picker
            .pick(table, &View { candidates, now }, call, draw)
    }

    /// Looks at all instances: those that were not tried first, then those that were, and then, unless some of these may get ready, those
    /// that are ejected.
    #[cold]
    #[inline(never)]
    pub(crate) fn place<Req, P>(&self, request: &mut Req, protocol: &P) -> Placement<S, R, S::Error>
    where
        S: Service<Req> + Clone,
        R: RunPolicy<Req>,
        C: Picker<Req>,
        P: DescribeRequest<Req>,
    {
        let first = self.place_once(request, protocol);
        match first {
            // A service was made anew.
            (Placement::Failed(_), true) => self.place_once(request, protocol).0,
            (placement, _) => placement,
        }
    }

    /// Returns true, too, if the service of an instance was made anew.
    fn place_once<Req, P>(
        &self,
        request: &mut Req,
        protocol: &P,
    ) -> (Placement<S, R, S::Error>, bool)
    where
        S: Service<Req> + Clone,
        R: RunPolicy<Req>,
        C: Picker<Req>,
        P: DescribeRequest<Req>,
    {
        let snapshot = self.snapshot.load();
        let candidates = snapshot.active();
        let attempted = AttemptedInstances::current().unwrap_or_default();
        let rank = |candidate: &Candidate<S, R>| {
            let stats = &candidate.policy.stats;
            (stats.is_ejected(), attempted.contains(stats.id()))
        };
        let mut order: Vec<_> = candidates.iter().collect();
        // From a fourth choice on, so that calls with one key stay together, and no neighbour gets the calls of two.
        let first = if order.is_empty() {
            0
        } else {
            let mut call = Call::new(request, protocol);
            let first = self.choose(&snapshot.table, candidates, &mut call, DRAWS);
            first.min(order.len())
        };
        order.rotate_left(first);
        order.sort_by_cached_key(|candidate| rank(candidate));
        let mut unready = Vec::new();
        let (mut rejected, mut failed, mut is_recreated) = (None, None, false);
        for candidate in order {
            // One that fails must not get all calls as soon as the others are busy.
            if !unready.is_empty() && candidate.policy.stats.is_ejected() {
                break;
            }
            let (service, policy) = (candidate.service.clone(), &candidate.policy);
            let mut cx = Context::from_waker(Waker::noop());
            match try_place(service, policy, request, protocol, &mut cx) {
                Tried::Placed(placed) => return (Placement::Placed(placed), is_recreated),
                Tried::Rejected(rejection) => rejected = Some(rejection),
                Tried::Failed(error) => {
                    is_recreated |= self.on_failed_readiness(&policy.stats);
                    failed = Some(error);
                }
                Tried::Unready(service) if unready.len() < MAX_UNREADY => unready.push(Candidate {
                    service,
                    policy: policy.clone(),
                }),
                Tried::Unready(_) => {}
            }
        }
        let placement = match (rejected, failed) {
            _ if !unready.is_empty() => Placement::Unready(unready),
            (Some(rejection), _) => Placement::Rejected(rejection),
            (None, Some(error)) => Placement::Failed(error),
            // There are no instances.
            (None, None) if self.shared.config.max_wait.is_zero() => {
                Placement::Rejected(self.rejection(RejectionReason::Unavailable))
            }
            (None, None) => Placement::Unready(unready),
        };
        (placement, is_recreated)
    }

    /// Returns a rejection by the balancer itself.
    pub(crate) fn rejection(&self, reason: RejectionReason) -> Rejection {
        Rejection::new(reason, self.shared.config.name.clone())
    }
}

/// Polls the service, and starts the policies if it is ready.
pub(crate) fn try_place<S, R, Req, P>(
    mut service: S,
    policy: &Arc<InstancePolicy<R>>,
    request: &mut Req,
    protocol: &P,
    cx: &mut Context<'_>,
) -> Tried<S, R, S::Error>
where
    S: Service<Req>,
    R: RunPolicy<Req>,
    P: DescribeRequest<Req>,
{
    match service.poll_ready(cx) {
        Poll::Pending => Tried::Unready(service),
        Poll::Ready(Err(error)) => Tried::Failed(error),
        Poll::Ready(Ok(())) => match InFlightCall::start(policy, &mut Call::new(request, protocol))
        {
            Err(rejection) => Tried::Rejected(rejection),
            Ok(in_flight_call) => {
                AttemptedInstances::record(policy.stats.id());
                Tried::Placed(Placed {
                    service,
                    in_flight_call,
                })
            }
        },
    }
}
