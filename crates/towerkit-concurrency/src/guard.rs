use std::{sync::Arc, time::Duration};

use towerkit_core::{
    Admission, AsyncGuard, Backpressure, Call, CallEnd, Deadline, Guard, Policy, Rejection,
    RejectionReason,
};

use crate::{
    ConcurrencyLimitPolicy,
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

impl<K> Policy for ConcurrencyLimitPolicy<K> {
    type CallState = Permit;

    #[inline(always)]
    fn finish(&self, permit: Permit, end: &CallEnd) {
        let shared = &*self.shared;
        let word = shared.room.leave(permit.pool);
        if word.is_waiting() || shared.follows_up {
            shared.follow_up(word, permit, end);
        }
    }
}

/// Rejects at once where there is no room.
impl<Req, K: Sort<Req>> Guard<Req> for ConcurrencyLimitPolicy<K> {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Permit, Rejection> {
        match self.enter(call) {
            Ok(permit) => Ok(permit),
            Err(_) => Err(self.shared.rejection(RejectionReason::Overloaded)),
        }
    }

    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        let shared = &*self.shared;
        let is_full = || {
            let word = shared.room.word();
            word.in_flight() >= word.limit()
        };
        shared.ready.as_ref()?.backpressure_while(is_full)
    }
}

/// Waits in line where there is no room.
impl<Req, K: Sort<Req>> AsyncGuard<Req> for ConcurrencyLimitPolicy<K> {
    type Wait = Turn;

    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Admission<Permit, Turn>, Rejection> {
        match self.enter(call) {
            Ok(permit) => Ok(Admission::Now(permit)),
            Err(lane) => self.shared.join(lane, call),
        }
    }

    /// The time in line is none of the callee's.
    fn on_admitted(&self, permit: &mut Permit, call: &mut Call<'_, Req>) {
        permit.started = self.shared.started(call);
    }
}

impl<K> ConcurrencyLimitPolicy<K> {
    /// Enters, if there is room and nobody waits; or says where to wait.
    #[inline(always)]
    fn enter<Req>(&self, call: &mut Call<'_, Req>) -> Result<Permit, LaneNumber>
    where
        K: Sort<Req>,
    {
        let shared = &*self.shared;
        let pool = if K::SORTS {
            let lane = shared.lane(self.sort.class(call));
            let now = shared.time_of_places(call);
            shared.room.enter_as(lane, now, false).ok_or(lane)?
        } else if shared.room.enter() {
            Pools::NONE
        } else {
            return Err(LaneNumber::ALIKE);
        };
        Ok(Permit {
            pool,
            started: shared.started(call),
        })
    }
}

impl Shared {
    fn lane(&self, class: Class) -> LaneNumber {
        LaneNumber {
            partition: self.settings.classes.number(class.partition),
            priority: class.priority,
        }
    }

    /// Puts a call into the line, unless its deadline is over.
    #[cold]
    #[inline(never)]
    fn join<Req>(
        self: &Arc<Self>,
        lane: LaneNumber,
        call: &mut Call<'_, Req>,
    ) -> Result<Admission<Permit, Turn>, Rejection> {
        let deadline = call.deadline();
        let patience = match deadline.as_ref().map(Deadline::remaining) {
            Some(Duration::ZERO) => return Err(self.rejection(RejectionReason::DeadlineExceeded)),
            Some(left) => u64::try_from(left.as_nanos()).unwrap_or(u64::MAX),
            None => u64::MAX,
        };
        let now = call.now(&self.settings.clock);
        match self.room.join(lane, patience, now) {
            Wait::Admitted(pool) => Ok(Admission::Now(Permit {
                pool,
                started: self.started(call),
            })),
            Wait::Joined { key, expires } => {
                let reason = if expires == now.saturating_add(patience) {
                    RejectionReason::DeadlineExceeded
                } else {
                    RejectionReason::Overloaded
                };
                let turn = Turn::new(self.clone(), key, expires, deadline, reason);
                Ok(Admission::Later(turn))
            }
            Wait::Full => Err(self.rejection(RejectionReason::Overloaded)),
        }
    }

    /// The time, if places depend on it.
    #[inline(always)]
    fn time_of_places<Req>(&self, call: &mut Call<'_, Req>) -> u64 {
        if self.room.is_partitioned() {
            call.now(&self.settings.clock)
        } else {
            0
        }
    }

    /// The time, if durations matter.
    #[inline(always)]
    fn started<Req>(&self, call: &mut Call<'_, Req>) -> u64 {
        match self.meter {
            Some(_) => call.now(&self.settings.clock),
            None => 0,
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn rejection(&self, reason: RejectionReason) -> Rejection {
        self.report
            .reject(self.room.word().limit(), &self.settings.clock);
        Rejection::new(reason, self.settings.name)
    }

    /// Gives the room on that a call has left, and learns from how it ended.
    #[inline(never)]
    fn follow_up(&self, word: Word, permit: Permit, end: &CallEnd) {
        if let Some(meter) = &self.meter {
            self.learn(meter, word.in_flight(), permit, end);
        }
        if word.is_waiting() {
            self.room.hand_over(self.now());
        }
        self.wake();
    }
}
