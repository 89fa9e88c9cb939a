use std::task::Waker;

use crate::{
    class::Classes,
    fraction::Fraction,
    gate::Gate,
    line::{Joined, Key, LaneNumber, Line, Turned},
    pools::Pools,
    queue::Queue,
    sync::{Mutex, MutexGuard, lock},
    word::Word,
};

/// Room for so many calls at once, and the line of those that wait for it.
///
/// # How no call is forgotten
///
/// A call joins the line in three steps: it takes its place, it sets the bit that says that somebody waits, it hands over whatever room
/// there is. A call that leaves takes itself out of the count and looks at the bit, which is one step, for both stand in one word.
/// Either it comes after the bit was set, and then hands its room over; or it comes before, and then the third step finds its room.
/// While the bit is set nobody enters but through the line.
///
/// The line has a lock, which only those take who wait, who make room for one who waits, or who come while others wait. Nobody is
/// woken, and nothing of a caller's is dropped, under that lock.
pub(crate) struct Room {
    gate: Gate,
    ceilings: [Fraction; 3],
    pools: Option<Pools>,
    line: Option<Mutex<Line<Pool, Waker>>>,
}

/// Where a call has its place: the number of a pool, or [`Pools::NONE`].
pub(crate) type Pool = u8;

/// What happens to a call that finds no room.
pub(crate) enum Wait {
    /// It has its place at last.
    Admitted(Pool),
    /// It waits.
    Joined { key: Key, expires: u64 },
    /// There is no place for it in the line either.
    Full,
}

impl Room {
    pub(crate) fn new(limit: u32, classes: &Classes, queue: Option<Queue>) -> Self {
        let partitions = classes.partitions.len() + 1;
        Self {
            gate: Gate::new(limit),
            ceilings: classes.ceilings,
            pools: Pools::new(classes),
            line: queue.map(|queue| Mutex::new(Line::new(queue, partitions))),
        }
    }

    pub(crate) fn word(&self) -> Word {
        self.gate.word()
    }

    /// Returns how many calls wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.line.as_ref().map_or(0, |line| lock(line).waiting())
    }

    /// Whether places depend on the time.
    pub(crate) fn is_partitioned(&self) -> bool {
        self.pools.is_some()
    }

    /// Enters, if there is room and nobody waits and all calls are alike.
    #[inline(always)]
    pub(crate) fn enter(&self) -> bool {
        self.gate.enter()
    }

    /// Enters, if there is room for this class of calls and, unless `ahead`, nobody waits.
    pub(crate) fn enter_as(&self, lane: LaneNumber, now: u64, ahead: bool) -> Option<Pool> {
        let ceiling = self.ceilings[lane.priority as usize];
        let Some(pools) = &self.pools else {
            let entered = self.gate.enter_below(ceiling, ahead);
            return entered.then_some(Pools::NONE);
        };
        let pool = pools.take(lane.partition, self.word().limit(), now)?;
        if self.gate.enter_below(ceiling, ahead) {
            return Some(pool);
        }
        pools.give_back(pool);
        if !ahead && self.word().is_waiting() {
            // Somebody may have found that pool empty meanwhile.
            self.hand_over(now);
        }
        None
    }

    /// Leaves, and returns the word as it was before. If it says that somebody waits, [`hand_over`](Self::hand_over).
    #[inline(always)]
    pub(crate) fn leave(&self, pool: Pool) -> Word {
        if pool != Pools::NONE
            && let Some(pools) = &self.pools
        {
            pools.give_back(pool);
        }
        self.gate.leave()
    }

    /// Changes the limit, and returns whether somebody may be waiting for that. Calls in flight go on, also if they are too many now.
    pub(crate) fn set_limit(&self, limit: u32) -> bool {
        self.gate.set_limit(limit).is_waiting()
    }

    /// Gives what room there is to those who wait, and turns away who has waited too long. Wakes each of them.
    pub(crate) fn hand_over(&self, now: u64) {
        let Some(line) = &self.line else { return };
        loop {
            let mut line = lock(line);
            let Some(waker) = self.settle_one(&mut line, now) else {
                return;
            };
            self.tidy(line);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Puts a call that found no room into the line.
    pub(crate) fn join(&self, lane: LaneNumber, patience: u64, now: u64) -> Wait {
        let Some(line) = &self.line else {
            return Wait::Full;
        };
        let joined = {
            let mut line = lock(line);
            let joined = line.join(lane, patience, now);
            if joined.is_some() {
                self.gate.mark_waiting();
            }
            joined
        };
        let Some(Joined {
            key,
            expires,
            turned_away,
        }) = joined
        else {
            return Wait::Full;
        };
        turned_away.into_iter().for_each(Waker::wake);
        self.hand_over(now);
        match self.look(key, None) {
            Some(Ok(pool)) => Wait::Admitted(pool),
            Some(Err(_)) => Wait::Full,
            None => Wait::Joined { key, expires },
        }
    }

    /// Returns what became of a call that waits, whose entry is free then; or takes note of what is to wake it.
    pub(crate) fn look(&self, key: Key, waker: Option<&Waker>) -> Option<Result<Pool, Turned>> {
        let new = waker.cloned();
        let mut line = lock(self.line.as_ref()?);
        if line.is_settled(key) {
            let (result, old) = line.leave(key);
            drop(line);
            drop((new, old));
            return result;
        }
        let old = new.and_then(|new| line.wake_by(key, new));
        drop(line);
        drop(old);
        None
    }

    /// Takes a call out of the line that waits no longer. Had it been admitted, the next one is.
    pub(crate) fn abandon(&self, key: Key, now: impl FnOnce() -> u64) -> bool {
        let Some(line) = &self.line else { return false };
        let mut line = lock(line);
        let (result, waker) = line.leave(key);
        self.tidy(line);
        drop(waker);
        let Some(Ok(pool)) = result else { return false };
        if self.leave(pool).is_waiting() {
            self.hand_over(now());
        }
        true
    }

    /// Settles the first call that can be, and returns what wakes it, if it has said so.
    fn settle_one(&self, line: &mut Line<Pool, Waker>, now: u64) -> Option<Option<Waker>> {
        let mut tried = 0;
        while let Some(lane) = line.candidate(tried) {
            tried += 1;
            let Some(key) = line.next(lane, now) else {
                continue;
            };
            if line.is_too_old(key, now) {
                return Some(line.settle(key, Err(Turned::TooOld)));
            }
            if let Some(pool) = self.enter_as(lane, now, true) {
                return Some(line.settle(key, Ok(pool)));
            }
        }
        None
    }

    /// Says so, if nobody waits any more, and only then lets go of the line.
    fn tidy(&self, line: MutexGuard<'_, Line<Pool, Waker>>) {
        if line.waiting() == 0 {
            self.gate.clear_waiting();
        }
        drop(line);
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn whether_somebody_waits_is_known_without_a_look_at_the_line() {
        let queue = Queue::new(2, Duration::from_secs(1)).unwrap();
        let room = Room::new(1, &Classes::new(), Some(queue));
        assert!(room.enter() && !room.word().is_waiting());
        let Wait::Joined { key, .. } = room.join(LaneNumber::ALIKE, u64::MAX, 0) else {
            panic!("there is no room");
        };
        assert!(room.word().is_waiting());
        room.abandon(key, || 0);
        assert!(!room.word().is_waiting());
    }
}
