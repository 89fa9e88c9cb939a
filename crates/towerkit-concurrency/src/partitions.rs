use crate::{
    classes::PriorityClasses,
    fraction::Fraction,
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// Divides the limit among the partitions of [`PriorityClasses`] and an unreserved rest.
///
/// A call takes a permit of one partition, or an unreserved one, and returns it to the same place. All of them together never exceed
/// the limit, so a call that has one also gets a permit of [`Permits`](crate::permits::Permits), except while the limit changes.
pub(crate) struct Partitions {
    partitions: Box<[Partition]>,
    unreserved: AtomicU32,
}

struct Partition {
    share: Fraction,
    in_use: AtomicU32,
    /// The time of the last call of this partition; 0 before the first.
    last_call: AtomicU64,
}

/// The origin of a permit: the number of a partition, the number of partitions for an unreserved permit, or [`Partitions::NONE`].
pub(crate) type PermitOrigin = u8;

impl Partitions {
    /// The origin of every permit of a limit without partitions.
    pub(crate) const NONE: PermitOrigin = PermitOrigin::MAX;
    /// A partition lends its permits after this time without a call, in nanoseconds.
    pub(crate) const LEND_AFTER: u64 = 10_000_000_000;
    /// The resolution of [`Partition::last_call`], so that few calls write to it.
    const RESOLUTION: u64 = Self::LEND_AFTER / 16;

    /// Creates the partitions, or returns [`None`] if there are no partitions.
    pub(crate) fn new(classes: &PriorityClasses) -> Option<Self> {
        let partitions: Box<[_]> = (classes.shares())
            .map(|share| Partition {
                share,
                in_use: AtomicU32::new(0),
                last_call: AtomicU64::new(0),
            })
            .collect();
        (!partitions.is_empty()).then(|| Self {
            partitions,
            unreserved: AtomicU32::new(0),
        })
    }

    /// Takes a permit for a call of partition `number`: from its own share, the unreserved rest, or an idle partition.
    pub(crate) fn try_acquire(&self, number: usize, limit: u32, now: u64) -> Option<PermitOrigin> {
        if let Some(own) = self.partitions.get(number) {
            own.record_call(now);
            if own.try_acquire(limit) {
                return Some(number as PermitOrigin);
            }
        }
        if try_increment(&self.unreserved, self.unreserved_limit(limit)) {
            return Some(self.partitions.len() as PermitOrigin);
        }
        let lends = |partition: &Partition| partition.is_idle(now) && partition.try_acquire(limit);
        let lender = self.partitions.iter().position(lends);
        lender.map(|number| number as PermitOrigin)
    }

    /// Returns a permit to its origin.
    pub(crate) fn release(&self, origin: PermitOrigin) {
        let in_use = match self.partitions.get(usize::from(origin)) {
            Some(partition) => &partition.in_use,
            None => &self.unreserved,
        };
        in_use.fetch_sub(1, Ordering::Release);
    }

    fn unreserved_limit(&self, limit: u32) -> u32 {
        let reserved = self.partitions.iter().map(|own| own.share.of_limit(limit));
        reserved.fold(limit, u32::saturating_sub)
    }
}

impl Partition {
    fn record_call(&self, now: u64) {
        let now = now.max(1);
        // Relaxed: no other memory depends on this time, and its precision does not matter.
        let last = self.last_call.load(Ordering::Relaxed);
        if last == 0 || now.saturating_sub(last) > Partitions::RESOLUTION {
            self.last_call.store(now, Ordering::Relaxed);
        }
    }

    fn is_idle(&self, now: u64) -> bool {
        let last = self.last_call.load(Ordering::Relaxed);
        last == 0 || now.saturating_sub(last) > Partitions::LEND_AFTER
    }

    fn try_acquire(&self, limit: u32) -> bool {
        try_increment(&self.in_use, self.share.of_limit(limit))
    }
}

fn try_increment(in_use: &AtomicU32, max: u32) -> bool {
    in_use
        .fetch_update(Ordering::Acquire, Ordering::Relaxed, |in_use| {
            (in_use < max).then_some(in_use + 1)
        })
        .is_ok()
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::{prelude::*, sample::Index};

    use super::*;

    /// A model that counts the permits of each origin anew for each call.
    struct Model {
        shares: Vec<i128>,
        last_calls: Vec<Option<i128>>,
        /// The origin of the permit of each call.
        calls: Vec<usize>,
    }

    impl Model {
        /// Shares are in sixteenths.
        fn permits(&self, origin: usize, limit: i128) -> i128 {
            let reserved = |sixteenths: &i128| limit * sixteenths / 16;
            match self.shares.get(origin) {
                Some(share) => reserved(share),
                None => limit - self.shares.iter().map(reserved).sum::<i128>(),
            }
        }

        fn is_free(&self, origin: usize, limit: i128) -> bool {
            let in_use = self.calls.iter().filter(|call| **call == origin).count();
            (in_use as i128) < self.permits(origin, limit)
        }

        fn acquire(&mut self, number: usize, limit: i128, now: i128) -> Option<usize> {
            if let Some(last) = self.last_calls.get_mut(number) {
                *last = Some(now);
            }
            let unreserved = self.shares.len();
            let idle = (0..unreserved).filter(|origin| {
                self.last_calls[*origin]
                    .is_none_or(|last| now - last > Partitions::LEND_AFTER.into())
            });
            let order = [number, unreserved].into_iter().chain(idle);
            let origin = order
                .into_iter()
                .find(|origin| self.is_free(*origin, limit))?;
            self.calls.push(origin);
            Some(origin)
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Acquire(usize),
        Release(Index),
        Advance(u64),
        SetLimit(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => (0..4_usize).prop_map(Step::Acquire),
            6 => any::<Index>().prop_map(Step::Release),
            // A little more than a multiple of the resolution, so that each call is recorded.
            2 => (1..20_u64).prop_map(|steps| Step::Advance(steps * (Partitions::RESOLUTION + 1))),
            1 => (1..20_u32).prop_map(Step::SetLimit),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// LS-01: permits never exceed the limit, and each partition has its share.
        #[test]
        fn partitions_agree_with_the_model(
            shares in prop::collection::vec(1..6_i128, 1..4),
            steps in prop::collection::vec(step(), 1..30),
        ) {
            let mut classes = PriorityClasses::new();
            for (name, share) in ["a", "b", "c"].into_iter().zip(&shares) {
                classes = classes.partition(name, *share as f64 / 16.0).unwrap();
            }
            let partitions = Partitions::new(&classes).unwrap();
            let last_calls = vec![None; shares.len()];
            let mut model = Model { shares, last_calls, calls: Vec::new() };
            let (mut limit, mut now) = (10_u32, 1);
            for step in steps {
                match step {
                    Step::Acquire(number) => {
                        let number = number.min(model.shares.len());
                        let expected = model.acquire(number, limit.into(), now.into());
                        prop_assert_eq!(partitions.try_acquire(number, limit, now).map(usize::from), expected);
                    }
                    Step::Release(which) if !model.calls.is_empty() => {
                        let call = which.index(model.calls.len());
                        partitions.release(model.calls.swap_remove(call) as u8);
                    }
                    Step::Advance(time) => now += time,
                    Step::SetLimit(changed) => limit = changed,
                    Step::Release(_) => {}
                }
            }
        }
    }
}
