use crate::{
    Quota,
    gcra::{BucketState, Gcra, InsufficientTokens},
    sync::{AtomicU64, Ordering},
};

/// The bit of a word that holds its generation: how many times the quota was changed, modulo two.
pub(crate) const GENERATION: u64 = 1;

/// The word of a slot that is about to get another key, see [`SlotValue::retire`](towerkit_keyed::SlotValue::retire).
///
/// It is later than any other word, so that the bucket has no tokens, and small enough that a price can be added to it.
pub(crate) const RETIRED: u64 = 13 << 60;

/// The quota of one bucket or of many, which can change while calls take tokens.
///
/// Each bucket is one word: the time at which the bucket would be full, the theoretical arrival time of the [GCRA](Gcra). Taking a
/// token only raises it, so that a clock that steps back does not create tokens.
///
/// # Changes of the quota
///
/// The lowest bit of a word is its generation. It selects one of two sets of parameters. A change writes the set that no word
/// uses, and then [converts](Self::convert) one word after the other; it is the only thread that converts, and the next change begins
/// after the last word is converted. So a call never waits for a change. It is judged by one quota, which was in force at some moment
/// of the call: by the old quota until its word is converted, and by the new one afterwards.
///
/// A call reads the parameters and the word one after the other, and may be suspended in between for two whole changes, after which
/// the set holds other parameters. Therefore it uses the parameters only if the number of changes is the same before and after. Once
/// they are read, the word can still change twice and return to the same bits before the call exchanges it. That call pays the price
/// by which it was judged, as if it had come before the changes.
#[derive(Debug)]
pub(crate) struct AtomicGcra {
    /// The number of changes. Its lowest bit is the present generation.
    changes: AtomicU64,
    /// The parameters by generation: those of the present quota, and of the one before.
    parameters: [AtomicParameters; 2],
    policy_header: AtomicU64,
    /// True if a full bucket may be forgotten, and so stays full after a change of the burst.
    forgets_full: bool,
}

/// A [`Gcra`] that changes.
#[derive(Debug)]
struct AtomicParameters {
    emission_interval: AtomicU64,
    burst_tolerance: AtomicU64,
}

/// The quota as the header `RateLimit-Policy` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PolicyHeader {
    pub(crate) quota: u32,
    pub(crate) window_seconds: u32,
}

impl AtomicGcra {
    pub(crate) fn new(quota: &Quota) -> Self {
        let gcra = quota.gcra();
        Self {
            changes: AtomicU64::new(0),
            parameters: [AtomicParameters::new(gcra), AtomicParameters::new(gcra)],
            policy_header: AtomicU64::new(PolicyHeader::of(quota).to_bits()),
            forgets_full: false,
        }
    }

    /// Makes the quota of buckets that are forgotten once they are full.
    pub(crate) fn forgetting_full_buckets(quota: &Quota) -> Self {
        Self {
            forgets_full: true,
            ..Self::new(quota)
        }
    }

    /// Takes `cost` tokens from the bucket `word` if they are there and if, after the word is read, `is_current` returns true.
    #[inline(always)]
    pub(crate) fn take(
        &self,
        word: &AtomicU64,
        now: u64,
        cost: u32,
        is_current: impl Fn() -> bool,
    ) -> Result<BucketState, InsufficientTokens> {
        if now >= Gcra::END {
            return Err(InsufficientTokens::AFTER_END);
        }
        loop {
            let (seen, gcra) = self.read(word);
            // Both times end in the generation, and the price does not. Nothing overflows: time ends at 2^63, the tolerance is at most
            // 2^61, and a word is at most 2^62 ahead of the time, or 2^62 + 2^60 if it is retired.
            let units = now << Gcra::SHIFT | seen & GENERATION;
            let price = gcra.price(cost);
            let next = seen.max(units).wrapping_add(price);
            let until_full = next.wrapping_sub(units);
            if until_full > gcra.burst_tolerance && cost > 0 {
                let until_full = until_full.wrapping_sub(price);
                return Err(InsufficientTokens {
                    state: BucketState { until_full, gcra },
                    price,
                    is_stale: seen == RETIRED || !is_current(),
                });
            }
            if !is_current() {
                return Err(InsufficientTokens::STALE);
            }
            // Relaxed: the word guards nothing but itself.
            if word
                .compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                return Ok(BucketState { until_full, gcra });
            }
        }
    }

    /// Reads a word, and the parameters of its generation.
    #[inline(always)]
    pub(crate) fn read(&self, word: &AtomicU64) -> (u64, Gcra) {
        // Acquire pairs with the Release of `set_quota`: the words are those that the change before left, or later ones.
        let changes = self.changes.load(Ordering::Acquire);
        // Acquire pairs with the Release of `convert`, so that the parameters of its generation are there, and with the Release of
        // `SlotValue::set`, so that a call that sees the word sees its owner.
        let seen = word.load(Ordering::Acquire);
        // Nearly always the word is of the present generation. Its parameters need not wait for it then.
        let gcra = self.parameters[(changes & GENERATION) as usize].load();
        let is_past =
            self.changes.load(Ordering::Relaxed) ^ changes | (seen ^ changes) & GENERATION;
        if is_past == 0 {
            (seen, gcra)
        } else {
            self.read_during_change(word)
        }
    }

    #[cold]
    #[inline(never)]
    fn read_during_change(&self, word: &AtomicU64) -> (u64, Gcra) {
        loop {
            // As in `read`.
            let changes = self.changes.load(Ordering::Acquire);
            let seen = word.load(Ordering::Acquire);
            let gcra = self.parameters[(seen & GENERATION) as usize].load();
            if self.changes.load(Ordering::Relaxed) == changes {
                return (seen, gcra);
            }
        }
    }

    /// Takes tokens that are already spent, down to a debt of one burst. Returns false if the slot belongs to another key.
    pub(crate) fn charge(
        &self,
        word: &AtomicU64,
        now: u64,
        cost: u32,
        is_current: impl Fn() -> bool,
    ) -> bool {
        self.update(word, now, is_current, |until_full, gcra| {
            let most = gcra.burst_tolerance * 2;
            let charged = until_full.saturating_add(gcra.price(cost));
            charged.min(most).max(until_full)
        })
    }

    /// Returns unused tokens to the bucket, which were taken at the time `taken`.
    ///
    /// Without them the bucket may have been full since. The tokens that would have overflowed then are not returned, so that every
    /// window keeps its bound.
    pub(crate) fn refund(&self, word: &AtomicU64, taken: u64, now: u64, cost: u32) {
        let since = Gcra::units(now).saturating_sub(Gcra::units(taken));
        let is_current = || true;
        self.update(word, now, is_current, |until_full, gcra| {
            until_full.saturating_sub(gcra.price(cost).saturating_sub(since))
        });
    }

    /// Changes the time until a bucket is full. Returns false if the slot belongs to another key.
    fn update(
        &self,
        word: &AtomicU64,
        now: u64,
        is_current: impl Fn() -> bool,
        next: impl Fn(u64, Gcra) -> u64,
    ) -> bool {
        let units = Gcra::units(now);
        let next =
            |full_at: u64, gcra| units.saturating_add(next(full_at.saturating_sub(units), gcra));
        self.rewrite(word, is_current, next)
    }

    /// Changes the time at which a bucket is full. Returns false if the slot belongs to another key.
    pub(crate) fn rewrite(
        &self,
        word: &AtomicU64,
        is_current: impl Fn() -> bool,
        mut next: impl FnMut(u64, Gcra) -> u64,
    ) -> bool {
        loop {
            let (seen, gcra) = self.read(word);
            if seen == RETIRED || !is_current() {
                return false;
            }
            let next = next(seen & !GENERATION, gcra) & !GENERATION | seen & GENERATION;
            // Relaxed: the word guards nothing but itself.
            if word
                .compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                return true;
            }
        }
    }

    /// Returns the state of a bucket if, after the word is read, `is_current` returns true.
    pub(crate) fn state(
        &self,
        word: &AtomicU64,
        now: u64,
        is_current: impl Fn() -> bool,
    ) -> Option<BucketState> {
        let (seen, gcra) = self.read(word);
        let until_full = (seen & !GENERATION).saturating_sub(Gcra::units(now));
        (seen != RETIRED && is_current()).then_some(BucketState { until_full, gcra })
    }

    /// Checks that `cost` tokens could be taken.
    pub(crate) fn check(
        &self,
        word: &AtomicU64,
        now: u64,
        cost: u32,
        is_current: impl Fn() -> bool,
    ) -> Result<(), InsufficientTokens> {
        let Some(state) = self.state(word, now, is_current) else {
            return Err(InsufficientTokens::STALE);
        };
        let price = state.gcra.price(cost);
        let is_short = state.until_full.saturating_add(price) > state.gcra.burst_tolerance;
        if is_short && cost > 0 {
            let is_stale = false;
            return Err(InsufficientTokens {
                state,
                price,
                is_stale,
            });
        }
        Ok(())
    }

    /// Changes the quota. The caller serializes changes, and [converts](Self::convert) all words before the next one.
    pub(crate) fn set_quota(&self, quota: &Quota) {
        let changes = self.changes.load(Ordering::Relaxed) + 1;
        // Release: a call that sees this change sees the words as they were converted for the one before.
        self.changes.store(changes, Ordering::Release);
        self.parameters[(changes & GENERATION) as usize].store(quota.gcra());
        // Relaxed: it is only displayed.
        self.policy_header
            .store(PolicyHeader::of(quota).to_bits(), Ordering::Relaxed);
    }

    /// Returns the present generation, for the thread that changes the quota.
    pub(crate) fn generation(&self) -> u64 {
        // Relaxed: the parameters are changed by this thread only.
        self.changes.load(Ordering::Relaxed) & GENERATION
    }

    /// Converts a word to the present generation if, after the word is read, `is_current` returns true. Part of a change.
    pub(crate) fn convert(&self, word: &AtomicU64, units: u64, is_current: impl Fn() -> bool) {
        let generation = self.generation();
        let [new, old] = [generation, generation ^ GENERATION]
            .map(|generation| self.parameters[generation as usize].load());
        loop {
            let seen = word.load(Ordering::Acquire);
            if seen == RETIRED || seen & GENERATION == generation || !is_current() {
                return;
            }
            let next = match seen & !GENERATION {
                full_at if self.forgets_full && full_at <= units => full_at,
                full_at => converted(full_at, units, old, new),
            };
            // Release: a call that sees the word of a generation sees its parameters.
            if word
                .compare_exchange(
                    seen,
                    next | generation,
                    Ordering::Release,
                    Ordering::Relaxed,
                )
                .is_ok()
            {
                return;
            }
        }
    }

    /// Makes the word of a new key after it took `cost` tokens.
    ///
    /// Its bucket was full at the time `full_at`, and lacks the tokens that `share` lacks: at least those that the key took before.
    pub(crate) fn take_first(
        &self,
        share: &AtomicU64,
        full_at: u64,
        now: u64,
        cost: u32,
    ) -> Result<(u64, BucketState), InsufficientTokens> {
        let word = new_word(share, full_at);
        let state = self.take(&word, now, cost, || true)?;
        Ok((word.load(Ordering::Relaxed), state))
    }

    /// Makes the word of a new key as [`take_first`](Self::take_first), after `cost` tokens were [charged](Self::charge).
    pub(crate) fn charge_first(&self, share: &AtomicU64, full_at: u64, now: u64, cost: u32) -> u64 {
        let word = new_word(share, full_at);
        self.charge(&word, now, cost, || true);
        word.load(Ordering::Relaxed)
    }

    /// Returns the quota as the header `RateLimit-Policy` shows it.
    pub(crate) fn policy_header(&self) -> PolicyHeader {
        // Relaxed: it is only displayed.
        PolicyHeader::from_bits(self.policy_header.load(Ordering::Relaxed))
    }
}

impl AtomicParameters {
    fn new(gcra: Gcra) -> Self {
        Self {
            emission_interval: AtomicU64::new(gcra.emission_interval),
            burst_tolerance: AtomicU64::new(gcra.burst_tolerance),
        }
    }

    /// Acquire: a call that sees a parameter of a change sees that the change began.
    #[inline(always)]
    fn load(&self) -> Gcra {
        Gcra {
            emission_interval: self.emission_interval.load(Ordering::Acquire),
            burst_tolerance: self.burst_tolerance.load(Ordering::Acquire),
        }
    }

    /// Release: see [`load`](Self::load).
    fn store(&self, gcra: Gcra) {
        self.emission_interval
            .store(gcra.emission_interval, Ordering::Release);
        self.burst_tolerance
            .store(gcra.burst_tolerance, Ordering::Release);
    }
}

impl PolicyHeader {
    /// Expresses a quota as a number of calls in a window of whole seconds.
    ///
    /// The window is the time in which the bucket fills or, if that is longer, the period. The number of calls is rounded down.
    fn of(quota: &Quota) -> Self {
        let (count, period) = (u128::from(quota.count()), quota.period().as_nanos());
        let calls = count.max(quota.burst_size().into());
        let window = (calls * period).div_ceil(count * 1_000_000_000).max(1);
        let calls = count * window * 1_000_000_000 / period;
        let [quota, window_seconds] = [calls, window].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        Self {
            quota,
            window_seconds,
        }
    }

    fn to_bits(self) -> u64 {
        u64::from(self.quota) << 32 | u64::from(self.window_seconds)
    }

    fn from_bits(bits: u64) -> Self {
        Self {
            quota: (bits >> 32) as u32,
            window_seconds: bits as u32,
        }
    }
}

/// Makes the word of a bucket that was full at the time `full_at`, or later if `share` says so.
fn new_word(share: &AtomicU64, full_at: u64) -> AtomicU64 {
    // Acquire: the parameters of its generation are there.
    let share = share.load(Ordering::Acquire);
    AtomicU64::new((share & !GENERATION).max(Gcra::units(full_at)) | share & GENERATION)
}

/// Converts the time at which a bucket is full so that its tokens, or its debt, stay the same, up to the new burst.
fn converted(word: u64, now: u64, old: Gcra, new: Gcra) -> u64 {
    let until_full = word.saturating_sub(now);
    let scaled = |part: u64| u128::from(part) * u128::from(new.emission_interval);
    let old_interval = u128::from(old.emission_interval);
    let tolerance = u128::from(new.burst_tolerance);
    // Rounded against the caller, and to an even number.
    let until_full = match old.burst_tolerance.checked_sub(until_full) {
        Some(saved) => tolerance.saturating_sub((scaled(saved) / old_interval) & !1),
        None => {
            let debt = scaled(until_full - old.burst_tolerance).div_ceil(old_interval);
            tolerance + ((debt + 1) & !1)
        }
    };
    // A debt of a fast quota may be longer than all time under a slow one.
    let most = 2 * Gcra::MAX_TOLERANCE;
    now + u64::try_from(until_full).map_or(most, |until_full| until_full.min(most))
}
