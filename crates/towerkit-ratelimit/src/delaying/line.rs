use std::collections::VecDeque;

use crate::quota::Spacing;

/// Those who wait for their tokens, first come, first served.
///
/// All of them have reserved their tokens: the word of the bucket is ahead by what they will take. So nobody who comes later finds a
/// token that is theirs. `base` is the time at which the bucket would have been empty without them; the first is due once its tokens
/// have come since, the second after that, and so on. When one gives up, all behind it move up.
///
/// Times are in the unit of the words, and signed: a bucket may have been empty before the clock's origin.
#[derive(Debug)]
pub(crate) struct Line<W> {
    waiters: VecDeque<Waiter<W>>,
    base: i128,
    /// The sums over all waiters.
    costs: u64,
    gaps: i128,
    next: u64,
    /// The first number since there was nobody in the line.
    since: u64,
}

#[derive(Debug)]
struct Waiter<W> {
    number: u64,
    cost: u32,
    /// What others took before it, though it did not see them in the line.
    gap: i128,
    /// When it will look, at the latest.
    looks_at: i128,
    waker: Option<W>,
}

/// The place that a newcomer would have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    base: i128,
    gap: i128,
    cost: u32,
    /// When its tokens will be there.
    pub(crate) due: i128,
    /// The word of the bucket once they are reserved.
    pub(crate) word: i128,
}

/// How much later than its token a call may go ahead without loss, in nanoseconds: timers are late by a tick, and threads by more.
///
/// What waits longer than that, as after a stopped process, has its time put off as if it had only come now.
const LATE: u64 = 10_000_000;

impl<W> Line<W> {
    pub(crate) const fn new() -> Self {
        Self {
            waiters: VecDeque::new(),
            base: 0,
            costs: 0,
            gaps: 0,
            next: 0,
            since: 0,
        }
    }

    /// Returns the word as it would be if nobody else had taken anything.
    pub(crate) fn seen(&self, spacing: Spacing) -> Option<i128> {
        let seen = self.base + i128::from(spacing.depth) + self.reserved(spacing);
        (!self.waiters.is_empty()).then_some(seen)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Finds the place of a newcomer.
    pub(crate) fn spot(&self, word: i128, spacing: Spacing, cost: u32) -> Spot {
        let depth = i128::from(spacing.depth);
        let base = if self.waiters.is_empty() {
            word - depth
        } else {
            self.base
        };
        let reserved = self.reserved(spacing);
        let gap = (word - (base + depth + reserved)).max(0);
        let price = price(spacing, cost);
        Spot {
            base,
            gap,
            cost,
            due: base + reserved + gap + price,
            word: word + price,
        }
    }

    /// Lets a newcomer wait, and returns its number.
    pub(crate) fn join(&mut self, spot: Spot) -> u64 {
        let number = self.next;
        self.next += 1;
        if self.waiters.is_empty() {
            self.since = number;
            self.base = spot.base;
        }
        self.costs += u64::from(spot.cost);
        self.gaps += spot.gap;
        self.waiters.push_back(Waiter {
            number,
            cost: spot.cost,
            gap: spot.gap,
            looks_at: spot.due,
            waker: None,
        });
        number
    }

    /// Says how the line and the word change if those who are due have not looked for too long: `None` if they have.
    pub(crate) fn late(&self, word: i128, now: i128, spacing: Spacing) -> Option<(i128, i128)> {
        let depth = i128::from(spacing.depth);
        let start = now - i128::from(Spacing::units(LATE));
        if self.waiters.is_empty() || self.base >= start - depth {
            return None;
        }
        let reserved = self.reserved(spacing);
        let seen = self.base + depth + reserved;
        let others = (word - seen).max(0);
        Some(if others == 0 || now <= seen {
            (start - depth, start + reserved + others)
        } else {
            // Others took from a bucket that had been full again, so that the word may have forgotten those who wait.
            let start = start.max(word);
            (start - depth, start + reserved)
        })
    }

    pub(crate) fn put_off(&mut self, base: i128) {
        self.base = base;
    }

    /// Lets the first go if it is due. Returns its number, and its waker.
    pub(crate) fn grant(&mut self, now: i128, spacing: Spacing) -> Option<(u64, Option<W>)> {
        let due = self.due(spacing)?;
        if due > now {
            return None;
        }
        self.base = due;
        let first = self.remove(0)?;
        Some((first.number, first.waker))
    }

    /// Returns when the first is due.
    pub(crate) fn due(&self, spacing: Spacing) -> Option<i128> {
        let first = self.waiters.front()?;
        Some(self.base + first.gap + price(spacing, first.cost))
    }

    /// Returns the waker of the first if it would look later than it is due.
    pub(crate) fn hurry(&mut self, spacing: Spacing) -> Option<W> {
        let due = self.due(spacing)?;
        let first = self.waiters.front_mut()?;
        if first.looks_at <= due {
            return None;
        }
        first.looks_at = due;
        first.waker.take()
    }

    /// Returns when a waiter is due at the latest, and keeps its waker until then; `None` if it has been let go.
    pub(crate) fn wait(
        &mut self,
        number: u64,
        now: i128,
        spacing: Spacing,
        waker: W,
    ) -> Option<i128> {
        let place = self.place(number)?;
        let waiter = self.waiters.get_mut(place)?;
        waiter.waker = Some(waker);
        // The first is told if it can go earlier; the others are not, until they are first.
        if place == 0 || waiter.looks_at <= now {
            let until = self.waiters.range(..=place);
            let due = self.base + sum(until, spacing);
            self.waiters[place].looks_at = due;
        }
        Some(self.waiters[place].looks_at)
    }

    /// Takes a waiter that gives up out of the line. Returns the word if its tokens come back to it.
    ///
    /// They do unless the bucket may have been full since, without them; then they would have been lost anyway.
    pub(crate) fn leave(
        &mut self,
        number: u64,
        cost: u32,
        now: i128,
        spacing: Spacing,
    ) -> Option<i128> {
        let seen = self.base + i128::from(spacing.depth) + self.reserved(spacing);
        let price = price(spacing, cost);
        match self.place(number) {
            Some(place) => {
                let gap = self.remove(place)?.gap;
                if let Some(behind) = self.waiters.get_mut(place) {
                    behind.gap += gap;
                    self.gaps += gap;
                }
            }
            // It was let go already, and did not use its tokens: all that are still there move up.
            None if number < self.since || now > seen => return None,
            None => self.base -= price,
        }
        (now <= seen).then_some(price)
    }

    /// Follows a change of the quota, after which the word is `word`.
    pub(crate) fn change(&mut self, word: i128, old: Spacing, new: Spacing) {
        for waiter in &mut self.waiters {
            waiter.gap = waiter.gap * i128::from(new.interval) / i128::from(old.interval);
        }
        self.gaps = self.waiters.iter().map(|w| w.gap).sum();
        self.base = word - i128::from(new.depth) - self.reserved(new);
    }

    fn place(&self, number: u64) -> Option<usize> {
        let place = self.waiters.partition_point(|w| w.number < number);
        let waiter = self.waiters.get(place)?;
        (waiter.number == number).then_some(place)
    }

    fn remove(&mut self, place: usize) -> Option<Waiter<W>> {
        let waiter = self.waiters.remove(place)?;
        self.costs -= u64::from(waiter.cost);
        self.gaps -= waiter.gap;
        Some(waiter)
    }

    /// What all who wait will take.
    fn reserved(&self, spacing: Spacing) -> i128 {
        i128::from(spacing.interval) * i128::from(self.costs) + self.gaps
    }
}

fn sum<'a, W: 'a>(waiters: impl Iterator<Item = &'a Waiter<W>>, spacing: Spacing) -> i128 {
    waiters.map(|w| w.gap + price(spacing, w.cost)).sum()
}

fn price(spacing: Spacing, cost: u32) -> i128 {
    i128::from(spacing.interval) * i128::from(cost)
}
