use crate::{
    class::Classes,
    fraction::Fraction,
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// The limit, dealt out: one pool of places for each partition, and one for all.
///
/// A call takes a place in one pool and gives it back there. The pools together never hold more than the limit, so that a call that
/// finds a place finds room at the gate as well, but for the moment in which a limit changes.
pub(crate) struct Pools {
    owned: Box<[Owned]>,
    shared: AtomicU32,
}

struct Owned {
    share: Fraction,
    in_use: AtomicU32,
    /// When its owner last made a call; 0 if never.
    asked: AtomicU64,
}

impl Pools {
    /// The place of a call that is in no pool, because there are none.
    pub(crate) const NONE: u8 = u8::MAX;
    /// A share whose owner has made no call for so long is lent.
    pub(crate) const LENT_AFTER: u64 = 10_000_000_000;
    /// A share is known to be asked for to within so much, so that not every call writes.
    const GRAIN: u64 = Self::LENT_AFTER / 16;

    /// Makes the pools, if there are partitions.
    pub(crate) fn new(classes: &Classes) -> Option<Self> {
        let owned: Box<[_]> = (classes.partitions.iter())
            .map(|&(_, share)| Owned {
                share,
                in_use: AtomicU32::new(0),
                asked: AtomicU64::new(0),
            })
            .collect();
        (!owned.is_empty()).then(|| Self {
            owned,
            shared: AtomicU32::new(0),
        })
    }

    /// Takes a place for a call of partition `number`, and returns the pool it is in: its own, the one for all, or one that is lent.
    pub(crate) fn take(&self, number: usize, limit: u32, now: u64) -> Option<u8> {
        if let Some(own) = self.owned.get(number) {
            own.ask(now);
            if own.take(limit) {
                return Some(number as u8);
            }
        }
        if take(&self.shared, self.left_over(limit)) {
            return Some(self.owned.len() as u8);
        }
        let lent = |pool: &Owned| pool.is_lent(now) && pool.take(limit);
        self.owned.iter().position(lent).map(|number| number as u8)
    }

    /// Gives a place back.
    pub(crate) fn give_back(&self, pool: u8) {
        let in_use = match self.owned.get(usize::from(pool)) {
            Some(owned) => &owned.in_use,
            None => &self.shared,
        };
        in_use.fetch_sub(1, Ordering::Release);
    }

    /// What no partition owns.
    fn left_over(&self, limit: u32) -> u32 {
        let owned = self.owned.iter().map(|pool| pool.share.of_limit(limit));
        owned.fold(limit, u32::saturating_sub)
    }
}

impl Owned {
    fn ask(&self, now: u64) {
        let now = now.max(1);
        // Relaxed: the time guards nothing but itself, and a moment more or less makes no difference.
        let asked = self.asked.load(Ordering::Relaxed);
        if asked == 0 || now.saturating_sub(asked) > Pools::GRAIN {
            self.asked.store(now, Ordering::Relaxed);
        }
    }

    fn is_lent(&self, now: u64) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        asked == 0 || now.saturating_sub(asked) > Pools::LENT_AFTER
    }

    fn take(&self, limit: u32) -> bool {
        take(&self.in_use, self.share.of_limit(limit))
    }
}

fn take(in_use: &AtomicU32, places: u32) -> bool {
    in_use
        .fetch_update(Ordering::Acquire, Ordering::Relaxed, |in_use| {
            (in_use < places).then_some(in_use + 1)
        })
        .is_ok()
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::{prelude::*, sample::Index};

    use super::*;

    /// Which partition each place belongs to and who has it, worked out anew each time.
    struct Model {
        shares: Vec<i128>,
        asked: Vec<Option<i128>>,
        /// The pool that each call has its place in.
        calls: Vec<usize>,
    }

    impl Model {
        /// A share is so many sixteenths.
        fn places(&self, pool: usize, limit: i128) -> i128 {
            let owned = |sixteenths: &i128| limit * sixteenths / 16;
            match self.shares.get(pool) {
                Some(share) => owned(share),
                None => limit - self.shares.iter().map(owned).sum::<i128>(),
            }
        }

        fn has_room(&self, pool: usize, limit: i128) -> bool {
            let taken = self.calls.iter().filter(|call| **call == pool).count();
            (taken as i128) < self.places(pool, limit)
        }

        fn take(&mut self, number: usize, limit: i128, now: i128) -> Option<usize> {
            if let Some(asked) = self.asked.get_mut(number) {
                *asked = Some(now);
            }
            let shared = self.shares.len();
            let lent = (0..shared).filter(|pool| {
                self.asked[*pool].is_none_or(|asked| now - asked > Pools::LENT_AFTER.into())
            });
            let order = [number, shared].into_iter().chain(lent);
            let pool = order.into_iter().find(|pool| self.has_room(*pool, limit))?;
            self.calls.push(pool);
            Some(pool)
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Take(usize),
        GiveBack(Index),
        Advance(u64),
        Change(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => (0..4_usize).prop_map(Step::Take),
            6 => any::<Index>().prop_map(Step::GiveBack),
            // A whole number of grains and a little, so that what was written is what was asked.
            2 => (1..20_u64).prop_map(|grains| Step::Advance(grains * (Pools::GRAIN + 1))),
            1 => (1..20_u32).prop_map(Step::Change),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// LS-01: no more places than the limit, and each partition its share.
        #[test]
        fn the_pools_do_what_the_model_does(
            shares in prop::collection::vec(1..6_i128, 1..4),
            steps in prop::collection::vec(step(), 1..30),
        ) {
            let mut classes = Classes::new();
            for (name, share) in ["a", "b", "c"].into_iter().zip(&shares) {
                classes = classes.partition(name, *share as f64 / 16.0).unwrap();
            }
            let pools = Pools::new(&classes).unwrap();
            let asked = vec![None; shares.len()];
            let mut model = Model { shares, asked, calls: Vec::new() };
            let (mut limit, mut now) = (10_u32, 1);
            for step in steps {
                match step {
                    Step::Take(number) => {
                        let number = number.min(model.shares.len());
                        let expected = model.take(number, limit.into(), now.into());
                        prop_assert_eq!(pools.take(number, limit, now).map(usize::from), expected);
                    }
                    Step::GiveBack(which) if !model.calls.is_empty() => {
                        let call = which.index(model.calls.len());
                        pools.give_back(model.calls.swap_remove(call) as u8);
                    }
                    Step::Advance(time) => now += time,
                    Step::Change(changed) => limit = changed,
                    Step::GiveBack(_) => {}
                }
            }
        }
    }
}
