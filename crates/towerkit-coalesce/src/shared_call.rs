//! The state of one call for which others wait: without locks, futures or wakers of its own.

/// The result of a shared call, for its waiters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallResult<V> {
    /// A response for all.
    Shared(V),
    /// No response: the call failed or was dropped, and another call may succeed.
    Failed,
    /// A response that is private to its caller, as the next one would be.
    Private,
}

/// A call in flight and its waiters.
///
/// `V` is the type of the response, `W` that of a waker. The slot of a waiter that leaves is reused, so that the list is never longer
/// than the largest number of concurrent waiters.
#[derive(Debug)]
pub(crate) struct SharedCall<V, W> {
    outcome: Option<CallResult<V>>,
    waiters: Vec<Option<W>>,
    free: Vec<usize>,
}

/// The index of a waiter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WaiterId(usize);

impl<V: Clone, W> SharedCall<V, W> {
    pub(crate) fn new() -> Self {
        Self {
            outcome: None,
            waiters: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Returns the result, if the call has ended.
    pub(crate) fn outcome(&self) -> Option<CallResult<V>> {
        self.outcome.clone()
    }

    /// Returns true if the call has not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.outcome.is_none()
    }

    /// Returns the waker of a waiter.
    pub(crate) fn waker(&self, waiter: &WaiterId) -> Option<&W> {
        self.waiters.get(waiter.0)?.as_ref()
    }

    /// Registers a waiter, or replaces the waker of a registered one; returns the old waker.
    pub(crate) fn register(&mut self, waiter: &mut Option<WaiterId>, waker: W) -> Option<W> {
        let at = match waiter {
            Some(waiter) => waiter.0,
            None => self.free.pop().unwrap_or(self.waiters.len()),
        };
        *waiter = Some(WaiterId(at));
        if at == self.waiters.len() {
            self.waiters.push(Some(waker));
            return None;
        }
        self.waiters[at].replace(waker)
    }

    /// Removes a waiter; returns its waker.
    pub(crate) fn unregister(&mut self, waiter: WaiterId) -> Option<W> {
        let waker = self.waiters.get_mut(waiter.0)?.take();
        self.free.push(waiter.0);
        waker
    }

    /// Ends the call; returns the wakers of its waiters.
    pub(crate) fn complete(
        &mut self,
        outcome: CallResult<V>,
    ) -> impl Iterator<Item = W> + use<V, W> {
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
        }
        self.free = Vec::new();
        std::mem::take(&mut self.waiters).into_iter().flatten()
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::{prelude::*, sample::Index, test_runner::RngSeed};

    use super::*;

    /// A step of the model. Waiters are identified by their order of registration.
    #[derive(Debug, Clone)]
    enum Step {
        Register,
        RegisterAgain(Index),
        Unregister(Index),
        Complete(Option<u8>),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Register),
            2 => any::<Index>().prop_map(Step::RegisterAgain),
            3 => any::<Index>().prop_map(Step::Unregister),
            1 => any::<Option<u8>>().prop_map(Step::Complete),
        ]
    }

    fn outcome(answer: Option<u8>) -> CallResult<u8> {
        answer.map_or(CallResult::Failed, CallResult::Shared)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]

        /// The model is a list of waiters, each with its last waker.
        #[test]
        fn every_waiter_is_woken_once(steps in prop::collection::vec(step(), 1..25)) {
            let mut call = SharedCall::new();
            let mut waiting: Vec<(Option<WaiterId>, u32)> = Vec::new();
            let mut landed: Option<Option<u8>> = None;
            let (mut wakers, mut most) = (0, 0);
            for step in steps {
                wakers += 1;
                match step {
                    Step::Register if landed.is_none() => {
                        let mut waiter = None;
                        prop_assert_eq!(call.register(&mut waiter, wakers), None);
                        waiting.push((waiter, wakers));
                    }
                    Step::RegisterAgain(at) if landed.is_none() && !waiting.is_empty() => {
                        let (waiter, waker) = at.get_mut(&mut waiting);
                        prop_assert_eq!(call.register(waiter, wakers), Some(*waker));
                        *waker = wakers;
                    }
                    Step::Unregister(at) if !waiting.is_empty() => {
                        let (waiter, waker) = waiting.swap_remove(at.index(waiting.len()));
                        let expected = landed.is_none().then_some(waker);
                        prop_assert_eq!(call.unregister(waiter.unwrap()), expected);
                    }
                    Step::Complete(answer) => {
                        let mut woken: Vec<_> = call.complete(outcome(answer)).collect();
                        let mut expected: Vec<_> = waiting.iter().map(|(_, waker)| *waker).collect();
                        if landed.is_some() {
                            expected.clear();
                        }
                        woken.sort_unstable();
                        expected.sort_unstable();
                        prop_assert_eq!(woken, expected);
                        landed = landed.or(Some(answer));
                    }
                    _ => {}
                }
                most = most.max(waiting.len());
                prop_assert!(call.waiters.len() <= most, "no slot is wasted");
                prop_assert_eq!(call.is_open(), landed.is_none());
                prop_assert_eq!(call.outcome(), landed.map(outcome));
                for (waiter, waker) in &waiting {
                    let expected = landed.is_none().then_some(waker);
                    prop_assert_eq!(call.waker(waiter.as_ref().unwrap()), expected);
                }
            }
        }
    }
}
