use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;
use towerkit_core::{DescribeRequest, Notified, RejectionReason, RunPolicy};

use crate::{
    BuildTable, Picker,
    balancer::Balancer,
    placement::{MAX_UNREADY, Placement, Tried, try_place},
    snapshot::Candidate,
};

/// The number of times that all instances for which a call waits may reject it or fail before this is its result.
///
/// A clone of a service may always be pending at its first poll, so that another look at all instances would show them unready again.
const MAX_REFUSALS: u32 = 3;

/// A call that waits for a first instance, or for instances to get ready.
pub(crate) struct Waiting<S, R, C: BuildTable, P, Req> {
    balancer: Arc<Balancer<S, R, C>>,
    protocol: P,
    /// Present until the call is placed.
    request: Option<Req>,
    /// Instances that are not ready, with clones of their services for this call alone.
    unready: Vec<Candidate<S, R>>,
    /// The number of times that all of them were of no use.
    refusals: u32,
    replaced: Notified,
    /// True before the first poll: the set may have been replaced before the call began to wait.
    may_have_missed: bool,
    since: Instant,
    limit: Option<(Pin<Box<Sleep>>, RejectionReason)>,
}

impl<S, R, C, P, Req> Waiting<S, R, C, P, Req>
where
    S: Service<Req> + Clone,
    R: RunPolicy<Req>,
    C: Picker<Req>,
    P: DescribeRequest<Req>,
{
    pub(crate) fn new(
        balancer: Arc<Balancer<S, R, C>>,
        protocol: P,
        request: Req,
        unready: Vec<Candidate<S, R>>,
    ) -> Self {
        let mut waiting = Self {
            replaced: balancer.snapshot.replaced(),
            balancer,
            protocol,
            request: Some(request),
            unready,
            refusals: 0,
            may_have_missed: true,
            since: Instant::now(),
            limit: None,
        };
        waiting.set_limit();
        waiting
    }

    /// Returns the request of a call that is placed.
    pub(crate) fn take_request(&mut self) -> Req {
        self.request.take().expect("a call is placed once")
    }

    /// Resolves when the call is placed, rejected or failed; never as unready.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Placement<S, R, S::Error>> {
        loop {
            // Before the instances: one that has just become ready may have been removed.
            let is_replaced = Pin::new(&mut self.replaced).poll(cx).is_ready();
            if is_replaced {
                self.replaced = self.balancer.snapshot.replaced();
            }
            if !(is_replaced || mem::take(&mut self.may_have_missed)) {
                if let Some(placement) = self.poll_unready(cx) {
                    return Poll::Ready(placement);
                }
                let has_none_left =
                    self.unready.is_empty() && !self.balancer.snapshot.load().active().is_empty();
                if !has_none_left {
                    return self.poll_limit(cx);
                }
            }
            let request = self.request.as_mut().expect("not placed yet");
            match self.balancer.place(request, &self.protocol) {
                Placement::Unready(unready) => self.wait_for(unready),
                placement => return Poll::Ready(placement),
            }
            self.set_limit();
        }
    }

    /// Waits for these instances, and keeps those that are there still: they may have begun to connect.
    fn wait_for(&mut self, unready: Vec<Candidate<S, R>>) {
        let snapshot = self.balancer.snapshot.load();
        self.unready.retain(|known| {
            let mut active = snapshot.active().iter();
            active.any(|active| Arc::ptr_eq(&active.policy, &known.policy))
        });
        for candidate in unready {
            let mut known = self.unready.iter();
            if self.unready.len() < MAX_UNREADY
                && !known.any(|known| Arc::ptr_eq(&known.policy, &candidate.policy))
            {
                self.unready.push(candidate);
            }
        }
    }

    /// Polls the instances that are not ready, and drops those that fail or reject the call.
    ///
    /// Returns the last of these results if it is in vain to look at the instances again.
    fn poll_unready(&mut self, cx: &mut Context<'_>) -> Option<Placement<S, R, S::Error>> {
        let request = self.request.as_mut().expect("not placed yet");
        let mut refusal = None;
        for candidate in mem::take(&mut self.unready) {
            let Candidate { service, policy } = candidate;
            match try_place(service, &policy, request, &self.protocol, cx) {
                Tried::Placed(placed) => return Some(Placement::Placed(placed)),
                Tried::Unready(service) => self.unready.push(Candidate { service, policy }),
                Tried::Rejected(rejection) => refusal = Some(Placement::Rejected(rejection)),
                Tried::Failed(error) => {
                    self.balancer.on_failed_readiness(&policy.stats);
                    refusal = Some(Placement::Failed(error));
                }
            }
        }
        self.refusals += u32::from(self.unready.is_empty() && refusal.is_some());
        refusal.filter(|_| self.unready.is_empty() && self.refusals >= MAX_REFUSALS)
    }

    /// A call waits for a first instance for a limited time, and for readiness to its deadline, as a call without a balancer would.
    fn set_limit(&mut self) {
        let max_wait = self.balancer.shared.config.max_wait;
        let wait = self
            .unready
            .is_empty()
            .then(|| max_wait.saturating_sub(self.since.elapsed()));
        let request = self.request.as_ref().expect("not placed yet");
        let deadline = self.protocol.deadline(request);
        let remaining = deadline.map(|deadline| deadline.remaining());
        self.limit = match (wait, remaining) {
            (Some(wait), Some(remaining)) if wait < remaining => {
                Some((wait, RejectionReason::Unavailable))
            }
            (_, Some(remaining)) => Some((remaining, RejectionReason::DeadlineExceeded)),
            (Some(wait), None) => Some((wait, RejectionReason::Unavailable)),
            (None, None) => None,
        }
        .map(|(time, reason)| (Box::pin(sleep(time)), reason));
    }

    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<Placement<S, R, S::Error>> {
        match &mut self.limit {
            Some((limit, reason)) => limit
                .as_mut()
                .poll(cx)
                .map(|()| Placement::Rejected(self.balancer.rejection(*reason))),
            None => Poll::Pending,
        }
    }
}
