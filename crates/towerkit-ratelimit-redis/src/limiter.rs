use std::{
    fmt::{self, Display},
    sync::{Mutex, PoisonError, RwLock},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::runtime::Handle;
use towerkit_core::{Admission, ConfigError, Event, EventQueue, Rejection, RejectionReason};
use towerkit_keyed::{KeyHasher, WhenFull};
use towerkit_ratelimit::Quota;

use crate::{
    config::{Config, Fallback},
    health::Health,
    key_slot::{Answer, KeySlot, LeaseRequest, Refill, nanos},
    key_slots::{KeySlots, SlotEntry},
    lease::{LeaseLimits, SpendResult},
    local_bucket::LocalBucket,
    script_quota::ScriptQuota,
    shared_future::{SharedFuture, Waiter},
    store::{Grant, StoreError},
};

/// A rate limit: its options, the state of each key, and the health of Redis.
pub(crate) struct Limiter {
    pub(crate) config: Config,
    quota: RwLock<(Quota, ScriptQuota)>,
    pub(crate) slots: KeySlots,
    health: Health,
    /// Held while the health changes and the event is queued, so that the last event tells the present state.
    health_change: Mutex<()>,
    /// The bucket of all keys without a slot, while Redis is unreachable.
    shared_local: LocalBucket,
    events: EventQueue,
}

/// A request for tokens that a call waits for.
pub(crate) struct TokenRequest {
    tag: u64,
    /// The name of the bucket on Redis.
    name: String,
    /// The number of the attempt.
    number: u64,
    pub(crate) answer: AnswerFuture,
}

/// The answer to a [`TokenRequest`].
pub(crate) enum AnswerFuture {
    /// The next lease of the key, shared by all calls that wait.
    Shared(Waiter<Answer>),
    /// One token for this call alone.
    Own(BoxFuture<'static, Answer>),
}

impl Limiter {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            quota: RwLock::new((config.quota, config.script_quota)),
            slots: KeySlots::new(config.capacity),
            health: Health::new(),
            health_change: Mutex::new(()),
            shared_local: LocalBucket::new(),
            events: config.events.clone(),
            config,
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.config.clock.now()
    }

    /// Requests the next lease of a key that has few tokens left, without waiting.
    ///
    /// The request is sent here; the next caller that finds few tokens polls its answer.
    #[cold]
    #[inline(never)]
    pub(crate) fn prefetch(&self, slot: SlotEntry<'_>, key: Option<&dyn Display>, now: u64) {
        let is_asked = slot.value.denied_until() <= now && slot.value.failing_until() <= now;
        if !is_asked || !self.health.is_reachable() {
            return;
        }
        let Some(mut refill) = slot.value.try_refill() else {
            return;
        };
        if refill.is_retired() || !slot.is_current() {
            return;
        }
        if refill.request().is_none() {
            let limits = self.lease_limits();
            let wanted = slot.value.wanted(&mut refill, now, limits);
            if wanted == 0 {
                return;
            }
            self.start(&mut refill, self.name_of(key), wanted, limits, now);
        }
        self.poll_request(slot.value, &mut refill, now);
        drop(refill);
        self.events.deliver();
    }

    /// Decides about a call whose key has no token in this process.
    #[cold]
    #[inline(never)]
    pub(crate) fn ask(
        &self,
        tag: u64,
        key: Option<&dyn Display>,
        now: u64,
    ) -> Result<Admission<(), TokenRequest>, Rejection> {
        let found = self.slots.find(tag);
        if let Some(decision) = found.and_then(|slot| self.decide_known(tag, slot.value, now)) {
            return decision.map(Admission::Now);
        }
        if !self.health.may_try(now, now.saturating_add(self.timeout())) {
            return self.decide_without_redis(tag, now).map(Admission::Now);
        }
        if let Some(slot) = found.or_else(|| self.slots.find_or_claim(tag, now)) {
            return self.join_request(tag, slot, self.name_of(key), now);
        }
        // All slots are taken by keys that hold tokens.
        let shared = match self.config.when_full {
            WhenFull::Reject => {
                let rejection = self.reject(RejectionReason::Overloaded);
                return Err(rejection.with_retry_after(self.config.lease_time));
            }
            WhenFull::Share => self.slots.find_or_claim(KeyHasher::NO_KEY, now),
            _ => None,
        };
        match shared {
            Some(slot) => self.join_request(KeyHasher::NO_KEY, slot, self.name_of(None), now),
            None => Ok(Admission::Later(self.own_request(tag, self.name_of(key)))),
        }
    }

    /// Decides about a call without asking Redis: Redis has no token for the key, or requests for the key fail.
    fn decide_known(&self, tag: u64, slot: &KeySlot, now: u64) -> Option<Result<(), Rejection>> {
        if slot.denied_until() > now {
            return Some(Err(self.rate_limited(slot.denied_until() - now)));
        }
        (slot.failing_until() > now).then(|| self.decide_without_redis(tag, now))
    }

    /// Waits for the next lease of the key together with all calls that wait for it.
    fn join_request(
        &self,
        tag: u64,
        slot: SlotEntry<'_>,
        name: String,
        now: u64,
    ) -> Result<Admission<(), TokenRequest>, Rejection> {
        let mut refill = slot.value.refill();
        if refill.is_retired() || !slot.is_current() {
            drop(refill);
            return Ok(Admission::Later(self.own_request(tag, name)));
        }
        // A request that another caller started may have an answer that was not polled yet.
        self.poll_request(slot.value, &mut refill, now);
        let is_spent = slot.value.spend(now, || slot.is_current()) != SpendResult::Empty;
        let decision = if is_spent {
            Some(Ok(()))
        } else {
            self.decide_known(tag, slot.value, now)
        };
        if let Some(decision) = decision {
            drop(refill);
            self.events.deliver();
            return decision.map(Admission::Now);
        }
        if refill.fresh_request(now).is_none() {
            let limits = self.lease_limits();
            let wanted = slot.value.wanted(&mut refill, now, limits).max(1);
            self.start(&mut refill, name.clone(), wanted, limits, now);
        }
        let request = refill.request().expect("it is fresh or was started");
        let request = TokenRequest {
            tag,
            name,
            number: request.number,
            answer: AnswerFuture::Shared(request.answer.waiter()),
        };
        drop(refill);
        self.events.deliver();
        Ok(Admission::Later(request))
    }

    fn start(&self, refill: &mut Refill, name: String, tokens: u32, limits: LeaseLimits, now: u64) {
        let (number, answer) = self.send(name, tokens);
        refill.start(now, number, tokens, limits, SharedFuture::new(answer));
    }

    /// Makes a request for one token.
    fn own_request(&self, tag: u64, name: String) -> TokenRequest {
        let (number, answer) = self.send(name.clone(), 1);
        TokenRequest {
            tag,
            name,
            number,
            answer: AnswerFuture::Own(answer),
        }
    }

    /// Replaces a shared request, which brought too few tokens, by a request for one token.
    pub(crate) fn request_own(&self, request: &mut TokenRequest) {
        let (number, answer) = self.send(request.name.clone(), 1);
        request.number = number;
        request.answer = AnswerFuture::Own(answer);
    }

    /// Requests tokens from Redis with the timeout. Returns the number of the attempt and the answer to come.
    fn send(&self, name: String, tokens: u32) -> (u64, BoxFuture<'static, Answer>) {
        let number = self.health.begin();
        let (_, quota) = self.quota();
        let answer = self.config.store.take(name, quota, tokens);
        let timeout = self.config.timeout;
        let answer = async move {
            tokio::time::timeout(timeout, answer)
                .await
                .unwrap_or(Err(StoreError::Unreachable))
        };
        (number, answer.boxed())
    }

    /// Returns the name of a key's bucket on Redis. A long key is replaced by its digest, so that callers cannot fill Redis with text.
    fn name_of(&self, key: Option<&dyn Display>) -> String {
        const LONGEST: usize = 128;
        let prefix = &self.config.prefix;
        let Some(key) = key else {
            return prefix.to_string();
        };
        let name = format!("{prefix}:{key}");
        let text = &name[prefix.len() + 1..];
        if text.len() <= LONGEST {
            return name;
        }
        format!("{prefix}#{}", sha1_smol::Sha1::from(text).digest())
    }

    /// Applies the answer of the request in flight if it has arrived.
    fn poll_request(&self, slot: &KeySlot, refill: &mut Refill, now: u64) {
        // Polling may start a timer, which needs a runtime.
        let Ok(_runtime) = Handle::try_current() else {
            return;
        };
        let Some(request) = refill.request() else {
            return;
        };
        if let Some(answer) = request.answer.poll_now() {
            self.complete(slot, refill, request.number, answer, now);
        }
    }

    /// Applies the answer of the request with this number, unless another caller has done so.
    fn complete(&self, slot: &KeySlot, refill: &mut Refill, number: u64, answer: Answer, now: u64) {
        let Some(request) = refill.take_request(number) else {
            return;
        };
        let limits = self.lease_limits();
        match answer {
            Ok(grant) => slot.add_grant(refill, &request, grant, now, limits),
            Err(_) if self.is_outdated(&request, limits, now) => return,
            Err(_) => {
                let backoff = self.health.backoff(fastrand::u32(..));
                slot.fail_until(now.saturating_add(backoff));
            }
        }
        self.record(number, answer, now);
    }

    /// Returns true if the failure of a request says nothing about Redis now.
    fn is_outdated(&self, request: &LeaseRequest, limits: LeaseLimits, now: u64) -> bool {
        request.is_abandoned(now, limits) || self.health.is_outdated(request.number)
    }

    /// Records the result of an attempt, and queues an event if Redis became reachable or unreachable.
    ///
    /// An attempt that began before the last such change is ignored: a request on the old connection may fail long after a new
    /// connection has succeeded.
    fn record(&self, attempt: u64, answer: Answer, now: u64) {
        let change = self.health_change.lock();
        let change = change.unwrap_or_else(PoisonError::into_inner);
        if self.health.is_outdated(attempt) {
            return;
        }
        let reachable = answer != Err(StoreError::Unreachable);
        let has_changed = if reachable {
            self.health.record_success()
        } else {
            self.health.record_failure(now, fastrand::u32(..))
        };
        if has_changed {
            self.events.push(Event::StoreChanged {
                name: self.config.name.clone(),
                reachable,
            });
        }
        drop(change);
        if has_changed && !reachable {
            self.config.store.reset();
        }
    }

    /// Decides about a call whose shared request was answered; `None` if the call has to request a token of its own.
    pub(crate) fn decide_shared(
        &self,
        request: &TokenRequest,
        answer: Answer,
    ) -> Option<Result<(), Rejection>> {
        let now = self.now();
        let mut is_spent = false;
        if let Some(slot) = self.slots.find(request.tag) {
            let mut refill = slot.value.refill();
            if !refill.is_retired() && slot.is_current() {
                self.complete(slot.value, &mut refill, request.number, answer, now);
            }
            drop(refill);
            is_spent = slot.value.spend(now, || slot.is_current()) != SpendResult::Empty;
        }
        self.events.deliver();
        if is_spent {
            return Some(Ok(()));
        }
        match answer {
            Err(_) => Some(self.decide_without_redis(request.tag, now)),
            Ok(grant) if !grant.wait.is_zero() => Some(Err(self.rate_limited(nanos(grant.wait)))),
            Ok(_) => None,
        }
    }

    /// Decides about a call that requested one token for itself.
    pub(crate) fn decide_own(
        &self,
        request: &TokenRequest,
        answer: Answer,
    ) -> Result<(), Rejection> {
        let now = self.now();
        self.record(request.number, answer, now);
        self.events.deliver();
        match answer {
            Ok(Grant { tokens: 1.., .. }) => Ok(()),
            Ok(Grant { wait, .. }) => {
                // The next calls of the key are rejected without asking.
                if let Some(slot) = self.slots.find(request.tag) {
                    slot.value.deny_until(now.saturating_add(nanos(wait)));
                }
                Err(self.rate_limited(nanos(wait)))
            }
            Err(_) => self.decide_without_redis(request.tag, now),
        }
    }

    /// Decides about a call while Redis is unreachable.
    fn decide_without_redis(&self, tag: u64, now: u64) -> Result<(), Rejection> {
        match self.config.fallback {
            Fallback::Admit => Ok(()),
            Fallback::Reject => Err(self.unavailable(tag, now)),
            Fallback::Local(gcra) => {
                let slot = self.slots.find_or_claim(tag, now);
                let bucket = slot.map_or(&self.shared_local, |slot| &slot.value.local);
                let taken = bucket.take(now, gcra);
                taken.map_err(|wait| self.rate_limited(nanos(wait)))
            }
        }
    }

    fn unavailable(&self, tag: u64, now: u64) -> Rejection {
        let slot = self.slots.find(tag).map(|slot| slot.value);
        let failing_for = slot.map_or(0, |slot| slot.failing_until().saturating_sub(now));
        let wait = self.health.next_try(now);
        let wait = wait.max(Duration::from_nanos(failing_for));
        self.reject(RejectionReason::Unavailable)
            .with_retry_after(wait.max(Duration::from_millis(1)))
    }

    fn rate_limited(&self, wait: u64) -> Rejection {
        self.reject(RejectionReason::RateLimited)
            .with_retry_after(Duration::from_nanos(wait.max(1)))
    }

    /// Rejects a call without the key that its extractor requires.
    #[cold]
    pub(crate) fn missing_key(&self) -> Rejection {
        self.reject(RejectionReason::Unavailable)
    }

    fn reject(&self, reason: RejectionReason) -> Rejection {
        Rejection::new(reason, self.config.name.clone())
    }

    fn lease_limits(&self) -> LeaseLimits {
        self.config.lease_limits(self.quota().1)
    }

    fn timeout(&self) -> u64 {
        nanos(self.config.timeout)
    }

    pub(crate) fn quota(&self) -> (Quota, ScriptQuota) {
        *self.quota.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        let script_quota = ScriptQuota::of(&quota)?;
        *self.quota.write().unwrap_or_else(PoisonError::into_inner) = (quota, script_quota);
        self.slots.clear_denials();
        Ok(())
    }

    pub(crate) fn is_reachable(&self) -> bool {
        self.health.is_reachable()
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("name", &self.config.name)
            .field("quota", &self.quota().0)
            .finish_non_exhaustive()
    }
}
