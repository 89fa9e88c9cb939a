use std::collections::VecDeque;

use crate::gcra::Gcra;

/// The calls that wait for their tokens, in the order of arrival.
///
/// All of them have reserved their tokens: the word of the bucket is ahead by the tokens that they will take, so that a later call
/// finds none of these. `base` is the time at which the bucket would have been empty without the queue. The first call is due when its
/// tokens have come since `base`, the second call when its tokens have come after that, and so on. If one gives up, all calls behind
/// it are due earlier.
///
/// Times are in the units of [`Gcra`], and signed: a bucket may have been empty before the clock's origin.
#[derive(Debug)]
pub(crate) struct WaitQueue<W> {
    waiters: VecDeque<Waiter<W>>,
    base: i128,
    /// The sums over all waiters.
    costs: u64,
    gaps: i128,
    next_ticket: u64,
    /// The first ticket since the queue was empty.
    first_ticket: u64,
}

#[derive(Debug)]
struct Waiter<W> {
    ticket: u64,
    cost: u32,
    /// The time of the tokens that others took before it without seeing it in the queue.
    gap: i128,
    /// The latest time at which the call is polled again.
    polls_at: i128,
    waker: Option<W>,
}

/// The place at the end of the queue, for one more call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reservation {
    base: i128,
    gap: i128,
    cost: u32,
    /// The time at which the tokens of the call are there.
    pub(crate) due: i128,
    /// The word of the bucket once the tokens are reserved.
    pub(crate) word: i128,
}

/// The delay after its due time with which a call may be polled without loss, in nanoseconds. Timers are late by a tick, and threads
/// by more.
///
/// After a longer delay, as of a process that was stopped, the reservations are postponed as if the calls had only just arrived.
const MAX_DELAY: u64 = 10_000_000;

impl<W> WaitQueue<W> {
    pub(crate) const fn new() -> Self {
        Self {
            waiters: VecDeque::new(),
            base: 0,
            costs: 0,
            gaps: 0,
            next_ticket: 0,
            first_ticket: 0,
        }
    }

    /// Returns the word of the bucket if no other call took tokens; `None` if the queue is empty.
    pub(crate) fn word(&self, gcra: Gcra) -> Option<i128> {
        (!self.waiters.is_empty()).then(|| self.expected_word(gcra))
    }

    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Returns the place of one more call, given the word of the bucket.
    pub(crate) fn reserve(&self, word: i128, gcra: Gcra, cost: u32) -> Reservation {
        let tolerance = i128::from(gcra.burst_tolerance);
        let base = if self.waiters.is_empty() {
            word - tolerance
        } else {
            self.base
        };
        let reserved = self.reserved(gcra);
        let gap = (word - (base + tolerance + reserved)).max(0);
        let price = price(gcra, cost);
        Reservation {
            base,
            gap,
            cost,
            due: base + reserved + gap + price,
            word: word + price,
        }
    }

    /// Adds a call to the queue, and returns its ticket.
    pub(crate) fn push(&mut self, reservation: Reservation) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if self.waiters.is_empty() {
            self.first_ticket = ticket;
            self.base = reservation.base;
        }
        self.costs += u64::from(reservation.cost);
        self.gaps += reservation.gap;
        self.waiters.push_back(Waiter {
            ticket,
            cost: reservation.cost,
            gap: reservation.gap,
            polls_at: reservation.due,
            waker: None,
        });
        ticket
    }

    /// Returns the new base and the new word if the calls that are due were not polled for too long; `None` if they were.
    pub(crate) fn postponed(&self, word: i128, now: i128, gcra: Gcra) -> Option<(i128, i128)> {
        let tolerance = i128::from(gcra.burst_tolerance);
        let start = now - i128::from(Gcra::units(MAX_DELAY));
        if self.waiters.is_empty() || self.base >= start - tolerance {
            return None;
        }
        let reserved = self.reserved(gcra);
        let expected = self.expected_word(gcra);
        let others = (word - expected).max(0);
        Some(if others == 0 || now <= expected {
            (start - tolerance, start + reserved + others)
        } else {
            // Other calls took from a bucket that had been full again, so that the word may not include the queue any more.
            let start = start.max(word);
            (start - tolerance, start + reserved)
        })
    }

    pub(crate) fn set_base(&mut self, base: i128) {
        self.base = base;
    }

    /// Removes the first call if it is due. Returns its ticket and its waker.
    pub(crate) fn pop_due(&mut self, now: i128, gcra: Gcra) -> Option<(u64, Option<W>)> {
        let due = self.first_due(gcra)?;
        if due > now {
            return None;
        }
        self.base = due;
        let first = self.take(0)?;
        Some((first.ticket, first.waker))
    }

    /// Returns the time at which the first call is due.
    pub(crate) fn first_due(&self, gcra: Gcra) -> Option<i128> {
        let first = self.waiters.front()?;
        Some(self.base + first.gap + price(gcra, first.cost))
    }

    /// Takes the waker of the first call if that is due earlier than its next poll.
    pub(crate) fn take_waker_of_first(&mut self, gcra: Gcra) -> Option<W> {
        let due = self.first_due(gcra)?;
        let first = self.waiters.front_mut()?;
        if first.polls_at <= due {
            return None;
        }
        first.polls_at = due;
        first.waker.take()
    }

    /// Registers the waker of a call, and returns the latest time at which the call is due; `None` if it was admitted.
    pub(crate) fn register(
        &mut self,
        ticket: u64,
        now: i128,
        gcra: Gcra,
        waker: W,
    ) -> Option<i128> {
        let index = self.index(ticket)?;
        let waiter = self.waiters.get_mut(index)?;
        waiter.waker = Some(waker);
        // The first call is woken if it is due earlier; the others are not, until they are first.
        if index == 0 || waiter.polls_at <= now {
            let ahead = self.waiters.range(..=index);
            let due = self.base + ahead.map(|w| w.gap + price(gcra, w.cost)).sum::<i128>();
            self.waiters[index].polls_at = due;
        }
        Some(self.waiters[index].polls_at)
    }

    /// Removes a call that gives up. Returns the refund for the word of the bucket.
    ///
    /// Returns `None` if the bucket may have been full since without these tokens; then they would have overflowed.
    pub(crate) fn remove(&mut self, ticket: u64, cost: u32, now: i128, gcra: Gcra) -> Option<i128> {
        let expected = self.expected_word(gcra);
        let price = price(gcra, cost);
        match self.index(ticket) {
            Some(index) => {
                let gap = self.take(index)?.gap;
                if let Some(behind) = self.waiters.get_mut(index) {
                    behind.gap += gap;
                    self.gaps += gap;
                }
            }
            // It was admitted and did not use its tokens: all calls that still wait are due earlier.
            None if ticket < self.first_ticket || now > expected => return None,
            None => self.base -= price,
        }
        (now <= expected).then_some(price)
    }

    /// Converts the queue after a change of the quota, which changed the word of the bucket to `word`.
    pub(crate) fn convert(&mut self, word: i128, old: Gcra, new: Gcra) {
        let [old_interval, new_interval] =
            [old, new].map(|gcra| i128::from(gcra.emission_interval));
        for waiter in &mut self.waiters {
            waiter.gap = waiter.gap * new_interval / old_interval;
        }
        self.gaps = self.waiters.iter().map(|w| w.gap).sum();
        self.base = word - i128::from(new.burst_tolerance) - self.reserved(new);
    }

    fn index(&self, ticket: u64) -> Option<usize> {
        let index = self.waiters.partition_point(|w| w.ticket < ticket);
        let waiter = self.waiters.get(index)?;
        (waiter.ticket == ticket).then_some(index)
    }

    fn take(&mut self, index: usize) -> Option<Waiter<W>> {
        let waiter = self.waiters.remove(index)?;
        self.costs -= u64::from(waiter.cost);
        self.gaps -= waiter.gap;
        Some(waiter)
    }

    /// Returns the word of the bucket if no other call took tokens since the queue began.
    fn expected_word(&self, gcra: Gcra) -> i128 {
        self.base + i128::from(gcra.burst_tolerance) + self.reserved(gcra)
    }

    /// Returns the time of all tokens that are reserved.
    fn reserved(&self, gcra: Gcra) -> i128 {
        i128::from(gcra.emission_interval) * i128::from(self.costs) + self.gaps
    }
}

fn price(gcra: Gcra, cost: u32) -> i128 {
    i128::from(gcra.emission_interval) * i128::from(cost)
}
