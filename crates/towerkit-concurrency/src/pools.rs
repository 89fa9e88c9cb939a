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
        if now.saturating_sub(self.asked.load(Ordering::Relaxed)) > Pools::GRAIN {
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
