use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::runtime::Handle;
use towerkit_core::{Admission, Event, EventQueue, Rejection, RejectionReason};
use towerkit_ratelimit::Quota;

use crate::{
    InvalidSetting, Overflow, RedisWait,
    common::Common,
    health::Health,
    keys::{Keys, Spot},
    lease::Spent,
    measure::Measure,
    place::{Flight, MockService, Place, Terms, nanos},
    settings::{Away, Settings},
    spare::Spare,
    store::{Failure, Grant},
};

/// A limit: what it was told, what it knows of Redis, and what it holds of each key.
pub(crate) struct Limiter {
    pub(crate) settings: Settings,
    quota: RwLock<(Quota, Measure)>,
    pub(crate) keys: Keys,
    health: Health,
    /// Held while the health changes and that is put into the outbox, so that the last event says how it is.
    changing: Mutex<()>,
    /// The bucket of all keys that find no room, while Redis is away.
    others: Spare,
    outbox: EventQueue,
}

type Answered = Result<Grant, Failure>;

impl Limiter {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            quota: RwLock::new((settings.quota, settings.measure)),
            keys: Keys::new(settings.capacity),
            health: Health::new(),
            changing: Mutex::new(()),
            others: Spare::new(),
            outbox: EventQueue::new(settings.sink.clone()),
            settings,
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.settings.clock.now()
    }

    /// Sees to the next lease of a key whose tokens are few, without waiting for anything.
    ///
    /// The request is sent here, and whoever comes next looks whether there is an answer.
    #[cold]
    #[inline(never)]
    pub(crate) fn prefetch(&self, spot: Spot, key: Option<&str>, now: u64) {
        let place = self.keys.place(spot);
        if place.denied_until() > now || place.failing_until() > now || !self.health.is_well() {
            return;
        }
        let Some(mut desk) = place.free_desk() else {
            return;
        };
        if !self.keys.is_of(spot) {
            return;
        }
        if !desk.has_flight() {
            let wanted = place.wanted(&mut desk, now, self.terms());
            if wanted == 0 {
                return;
            }
            self.depart(&mut desk, key, wanted, now);
        }
        self.look(place, &mut desk, now);
        drop(desk);
        self.outbox.deliver();
    }

    /// Admits, rejects or delays a call for whose key there is no token here.
    #[cold]
    #[inline(never)]
    pub(crate) fn ask(
        self: &Arc<Self>,
        tag: u64,
        key: Option<&str>,
        now: u64,
    ) -> Result<Admission<(), RedisWait>, Rejection> {
        let found = self.keys.find(tag);
        if let Some(decided) = found.and_then(|spot| self.decided(spot, now)) {
            return decided.map(Admission::Now);
        }
        if !self.health.may_ask(now, now.saturating_add(self.timeout())) {
            return self.without_redis(tag, now).map(Admission::Now);
        }
        match found.or_else(|| self.keys.give(tag, now, self.timeout())) {
            Some(spot) => {
                let joined = self.join(spot, key, now);
                self.deliver();
                joined
            }
            None => match self.settings.overflow {
                Overflow::Ask => Ok(Admission::Later(RedisWait::alone(self, tag, key))),
                Overflow::Reject => Err(Rejection::new(
                    RejectionReason::Overloaded,
                    self.settings.name,
                )
                .with_retry_after(self.settings.lease_time)),
            },
        }
    }

    /// What is known without asking: that Redis has no token for the key, or that it fails.
    fn decided(&self, spot: Spot, now: u64) -> Option<Result<(), Rejection>> {
        let place = self.keys.place(spot);
        if place.denied_until() > now {
            return Some(Err(self.denied(place.denied_until() - now)));
        }
        (place.failing_until() > now).then(|| self.without_redis(spot.tag(), now))
    }

    /// Waits for the next lease of the key, together with all who wait for it.
    fn join(
        self: &Arc<Self>,
        spot: Spot,
        key: Option<&str>,
        now: u64,
    ) -> Result<Admission<(), RedisWait>, Rejection> {
        let place = self.keys.place(spot);
        let mut desk = place.desk();
        if !self.keys.is_of(spot) {
            return Ok(Admission::Later(RedisWait::alone(self, spot.tag(), key)));
        }
        // Another caller may have asked, and nobody may have looked at the answer.
        self.look(place, &mut desk, now);
        if self.keys.spend(spot, now) != Spent::Nothing {
            return Ok(Admission::Now(()));
        }
        if let Some(decided) = self.decided(spot, now) {
            return decided.map(Admission::Now);
        }
        if desk.fresh_flight(now, self.timeout()).is_none() {
            let wanted = place.wanted(&mut desk, now, self.terms()).max(1);
            self.depart(&mut desk, key, wanted, now);
        }
        let flight = desk.flight().expect("departed or fresh");
        Ok(Admission::Later(RedisWait::together(
            self, spot, key, flight,
        )))
    }

    fn depart(&self, desk: &mut MockService, key: Option<&str>, tokens: u32, now: u64) {
        let (number, answer) = self.send(key, tokens);
        desk.depart(now, number, tokens, Common::new(answer));
    }

    /// Asks Redis for tokens, for no longer than the timeout. Returns the number of the attempt as well.
    pub(crate) fn send(
        &self,
        key: Option<&str>,
        tokens: u32,
    ) -> (u64, BoxFuture<'static, Answered>) {
        let number = self.health.begin();
        let (_, measure) = self.quota();
        let answer = self.settings.store.take(self.name_of(key), measure, tokens);
        let timeout = self.settings.timeout;
        let answer = async move {
            tokio::time::timeout(timeout, answer)
                .await
                .unwrap_or(Err(Failure::Away))
        };
        (number, answer.boxed())
    }

    /// The name of a key on Redis. One that is long goes by its digest, so that no caller fills Redis with it.
    fn name_of(&self, key: Option<&str>) -> String {
        const LONGEST: usize = 128;
        let prefix = &self.settings.prefix;
        match key {
            None => prefix.to_string(),
            Some(key) if key.len() <= LONGEST => format!("{prefix}:{key}"),
            Some(key) => format!("{prefix}#{}", sha1_smol::Sha1::from(key).digest()),
        }
    }

    /// Puts the answer of the flight that is under way to use, if it is there.
    fn look(&self, place: &Place, desk: &mut MockService, now: u64) {
        // What is polled here may start a timer.
        let Ok(_runtime) = Handle::try_current() else {
            return;
        };
        if let Some(answered) = desk.flight().and_then(|flight| flight.answer.look()) {
            let flight = desk.take(None).expect("looked at");
            self.land(place, desk, &flight, answered, now);
        }
    }

    /// Puts the answer of a flight to use, unless that was done.
    pub(crate) fn landed(&self, spot: Spot, number: u64, answered: Answered, now: u64) {
        let place = self.keys.place(spot);
        let mut desk = place.desk();
        if self.keys.is_of(spot)
            && let Some(flight) = desk.take(Some(number))
        {
            self.land(place, &mut desk, &flight, answered, now);
        }
        drop(desk);
        self.outbox.deliver();
    }

    fn land(
        &self,
        place: &Place,
        desk: &mut MockService,
        flight: &Flight,
        answered: Answered,
        now: u64,
    ) {
        match answered {
            // Nobody looked for a while: it failed because nobody drove it, or long ago.
            Err(_) if !flight.is_fresh(now, 2 * self.timeout()) => return,
            Err(_) if self.health.is_outdated(flight.number) => return,
            Err(_) => place.fail_until(now.saturating_add(self.health.patience(fastrand::u32(..)))),
            Ok(grant) => place.land(desk, flight, grant, now, self.terms()),
        }
        self.heard(flight.number, answered, now);
    }

    /// Takes note of what the answer to an attempt says about Redis.
    ///
    /// An attempt that began before the last change is ignored: a request on the old connection may fail long after a new connection
    /// has succeeded.
    pub(crate) fn heard(&self, attempt: u64, answered: Answered, now: u64) {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.health.is_outdated(attempt) {
            return;
        }
        let changed = match answered {
            Err(Failure::Away) => self.health.failed(now, fastrand::u32(..)),
            Ok(_) | Err(Failure::Broken) => self.health.succeeded(),
        };
        if changed {
            self.outbox.push(Event::StoreChanged {
                name: self.settings.name.into(),
                reachable: answered != Err(Failure::Away),
            });
        }
        drop(changing);
        if changed && answered == Err(Failure::Away) {
            self.settings.store.reset();
        }
    }

    pub(crate) fn deliver(&self) {
        self.outbox.deliver();
    }

    /// Decides about a call without Redis.
    pub(crate) fn without_redis(&self, tag: u64, now: u64) -> Result<(), Rejection> {
        match self.settings.away {
            Away::Admit => Ok(()),
            Away::Reject => Err(self.unavailable(tag, now)),
            Away::Within(spacing) => {
                let spot = self.keys.find(tag);
                let spot = spot.or_else(|| self.keys.give(tag, now, self.timeout()));
                let spare = spot.map_or(&self.others, |spot| &self.keys.place(spot).spare);
                spare
                    .take(now, spacing)
                    .map_err(|wait| self.denied(nanos(wait)))
            }
        }
    }

    /// Rejects the key here for as long as Redis is known to have no token.
    pub(crate) fn deny(&self, tag: u64, now: u64, wait: Duration) {
        if let Some(spot) = self.keys.find(tag) {
            let until = now.saturating_add(nanos(wait));
            self.keys.place(spot).deny_until(until);
        }
    }

    fn unavailable(&self, tag: u64, now: u64) -> Rejection {
        let place = self.keys.find(tag).map(|spot| self.keys.place(spot));
        let failing_for = place.map_or(0, |place| place.failing_until().saturating_sub(now));
        let wait = self
            .health
            .away_for(now)
            .max(Duration::from_nanos(failing_for));
        Rejection::new(RejectionReason::Unavailable, self.settings.name)
            .with_retry_after(wait.max(Duration::from_millis(1)))
    }

    pub(crate) fn denied(&self, wait: u64) -> Rejection {
        Rejection::new(RejectionReason::RateLimited, self.settings.name)
            .with_retry_after(Duration::from_nanos(wait.max(1)))
    }

    fn terms(&self) -> Terms {
        self.settings.terms(self.quota().1)
    }

    fn timeout(&self) -> u64 {
        nanos(self.settings.timeout)
    }

    pub(crate) fn quota(&self) -> (Quota, Measure) {
        *self.quota.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change_quota(&self, quota: Quota) -> Result<(), InvalidSetting> {
        let measure = Measure::of(&quota)?;
        *self.quota.write().unwrap_or_else(PoisonError::into_inner) = (quota, measure);
        self.keys.allow_all();
        Ok(())
    }

    pub(crate) fn is_well(&self) -> bool {
        self.health.is_well()
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("name", &self.settings.name)
            .field("quota", &self.quota().0)
            .finish_non_exhaustive()
    }
}
