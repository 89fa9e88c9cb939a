use std::time::Duration;

use towerkit_core::{Admission, AsyncGuard, Call, Deadline, End, Guard, Policy, Reason, Rejection};

use crate::{
    ConcurrencyLimit,
    class::{Class, Sort},
    limit::Shared,
    line::LaneNumber,
    pools::Pools,
    room::{Pool, Wait},
    turn::Turn,
    word::Word,
};

/// What a call holds while it is in flight.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    pub(crate) pool: Pool,
    /// When it was admitted, where durations matter.
    pub(crate) started: u64,
}

impl<K> Policy for ConcurrencyLimit<K> {
    type Held = Permit;

    #[inline(always)]
    fn finish(&self, permit: Permit, end: &End) {
        let shared = &*self.shared;
        let word = shared.room.leave(permit.pool);
        if word.is_waiting() || shared.meter.is_some() {
            shared.follow_up(word, permit, end);
        }
    }
}

/// Refuses at once where there is no room.
impl<Req, K: Sort<Req>> Guard<Req> for ConcurrencyLimit<K> {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Permit, Rejection> {
        match self.enter(call) {
            Some(permit) => Ok(permit),
            None => Err(self.shared.refusal(Reason::Overloaded)),
        }
    }
}

/// Waits in line where there is no room.
impl<Req, K: Sort<Req>> AsyncGuard<Req> for ConcurrencyLimit<K> {
    type Wait = Turn;

    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Admission<Permit, Turn>, Rejection> {
        match self.enter(call) {
            Some(permit) => Ok(Admission::Now(permit)),
            None => self.join(call),
        }
    }

    fn stamp(&self, permit: &mut Permit, call: &mut Call<'_, Req>) {
        permit.started = self.shared.started(call);
    }
}

impl<K> ConcurrencyLimit<K> {
    /// Enters, if there is room and nobody waits.
    #[inline(always)]
    fn enter<Req>(&self, call: &mut Call<'_, Req>) -> Option<Permit>
    where
        K: Sort<Req>,
    {
        let shared = &*self.shared;
        let pool = if K::SORTS {
            let lane = shared.lane(self.sort.class(call));
            let now = if shared.room.is_partitioned() {
                call.now(&shared.clock)
            } else {
                0
            };
            shared.room.enter_as(lane, now, false)?
        } else if shared.room.enter() {
            Pools::NONE
        } else {
            return None;
        };
        Some(Permit {
            pool,
            started: shared.started(call),
        })
    }

    #[cold]
    #[inline(never)]
    fn join<Req>(&self, call: &mut Call<'_, Req>) -> Result<Admission<Permit, Turn>, Rejection>
    where
        K: Sort<Req>,
    {
        let shared = &self.shared;
        let deadline = call.deadline();
        let left = deadline.as_ref().map(Deadline::left);
        if left == Some(Duration::ZERO) {
            return Err(shared.refusal(Reason::DeadlineExceeded));
        }
        let patience = left.map_or(u64::MAX, |left| {
            u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)
        });
        let lane = shared.lane(self.sort.class(call));
        let now = call.now(&shared.clock);
        match shared.room.join(lane, patience, now) {
            Wait::Admitted(pool) => Ok(Admission::Now(Permit {
                pool,
                started: shared.started(call),
            })),
            Wait::Joined { key, expires } => {
                let reason = if expires == now.saturating_add(patience) {
                    Reason::DeadlineExceeded
                } else {
                    Reason::Overloaded
                };
                let turn = Turn::new(shared.clone(), key, expires, deadline, reason);
                Ok(Admission::Later(turn))
            }
            Wait::Full => Err(shared.refusal(Reason::Overloaded)),
        }
    }
}

impl Shared {
    fn lane(&self, class: Class) -> LaneNumber {
        LaneNumber {
            partition: self.settings.classes.number(class.partition),
            priority: class.priority,
        }
    }

    #[inline(always)]
    fn started<Req>(&self, call: &mut Call<'_, Req>) -> u64 {
        match self.meter {
            Some(_) => call.now(&self.clock),
            None => 0,
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn refusal(&self, reason: Reason) -> Rejection {
        self.report.refuse(self.room.word().limit(), &self.clock);
        Rejection::new(reason, self.settings.name)
    }

    /// Gives the room on that a call has left, and learns from how it ended.
    #[inline(never)]
    fn follow_up(&self, word: Word, permit: Permit, end: &End) {
        if let Some(meter) = &self.meter {
            self.learn(meter, word.in_flight(), permit, end);
        }
        if word.is_waiting() {
            self.room.hand_over(self.clock.now());
        }
    }
}
