use crate::{
    Quota,
    level::{Level, Short},
    quota::Spacing,
    sync::{AtomicU64, Ordering, spin_loop},
};

/// The era of a word: how many times the quota was changed, of which one bit is kept.
pub(crate) const ERA: u64 = 1;

/// The word of a place whose owner is about to change, see `keyed/table.rs`.
pub(crate) const CLAIMED: u64 = u64::MAX;

/// How fast tokens come and how many there can be, for any number of buckets, each of which is one word.
///
/// The word of a bucket is the time when it would be full: the theoretical arrival time of the generic cell rate algorithm, virtual
/// scheduling (ITU-T I.371, annex A). Taking a token only ever raises it, so that a clock that steps back mints none.
///
/// The quota can be changed while calls go on. The lowest bit of the word, and of the two numbers that the quota comes to, is the
/// era; a word is converted before it is compared with numbers of another era. So a call is judged by the old quota or by the new
/// one, and no call waits. (Were a thread held up between two loads for two whole changes, it could mix the first with the third.)
#[derive(Debug)]
pub(crate) struct Rate {
    interval: AtomicU64,
    depth: AtomicU64,
    /// The numbers of the era before.
    was: [AtomicU64; 2],
    advert: AtomicU64,
    /// Whether a bucket that is full may be forgotten, and so stays full whatever the burst.
    forgets: bool,
}

impl Rate {
    pub(crate) fn new(quota: &Quota) -> Self {
        Self::with(quota, false)
    }

    /// The rate of buckets that are forgotten once they are full.
    pub(crate) fn forgetting(quota: &Quota) -> Self {
        Self::with(quota, true)
    }

    fn with(quota: &Quota, forgets: bool) -> Self {
        let Spacing { interval, depth } = quota.spacing();
        Self {
            forgets,
            interval: AtomicU64::new(interval),
            depth: AtomicU64::new(depth),
            was: [AtomicU64::new(interval), AtomicU64::new(depth)],
            advert: AtomicU64::new(advert(quota)),
        }
    }

    /// Takes `cost` tokens from the bucket `word`, if they are there and if, once the word is read, it still is the caller's.
    #[inline(always)]
    pub(crate) fn take(
        &self,
        word: &AtomicU64,
        now: u64,
        cost: u32,
        is_ours: impl Fn() -> bool,
    ) -> Result<Level, Short> {
        if now >= Spacing::END {
            return Err(Short::AT_THE_END);
        }
        let units = now << Spacing::SHIFT;
        loop {
            // Relaxed: the era in each of them tells what belongs together.
            let interval = self.interval.load(Ordering::Relaxed);
            let depth = self.depth.load(Ordering::Relaxed);
            // Acquire: who sees the word of a new owner sees the new owner.
            let seen = word.load(Ordering::Acquire);
            let era = interval & ERA;
            let full_at = seen ^ era;
            if (full_at | (depth ^ era)) & ERA != 0 {
                if !self.settle(word, units) {
                    return Err(Short::LOST);
                }
                continue;
            }
            // The price ends in the era, and so does what it is added to. Nothing overflows: time ends at 2^63, a bucket is no deeper
            // than 2^61, and its word is no farther ahead than 2^62.
            let price = price(interval, cost);
            let next = full_at.max(units).wrapping_add(price);
            let ahead = next.wrapping_sub(units);
            if ahead > depth && cost > 0 {
                let level = level(ahead.wrapping_sub(price), [interval, depth]);
                let lost = seen == CLAIMED || !is_ours();
                return Err(Short { level, price, lost });
            }
            if !is_ours() {
                return Err(Short::LOST);
            }
            // Relaxed: the word guards nothing but itself.
            if word
                .compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                return Ok(level(ahead, [interval, depth]));
            }
        }
    }

    /// Takes tokens that were spent already: down to a debt of one burst, and no further. Returns false if the bucket is lost.
    pub(crate) fn charge(
        &self,
        word: &AtomicU64,
        now: u64,
        cost: u32,
        is_ours: impl Fn() -> bool,
    ) -> bool {
        self.update(word, now, is_ours, |ahead, spacing| {
            let price = price(spacing.interval, cost);
            let most = spacing.depth * 2;
            ahead.saturating_add(price).min(most).max(ahead)
        })
    }

    /// Gives tokens back that were taken at the time `taken` and not used.
    ///
    /// In between the bucket may have been full without this call. What it would have lost then is not given back, so that no window
    /// ever holds more than it may.
    pub(crate) fn give_back(&self, word: &AtomicU64, taken: u64, now: u64, cost: u32) {
        let since = Spacing::units(now).saturating_sub(Spacing::units(taken));
        let is_ours = || true;
        self.update(word, now, is_ours, |ahead, spacing| {
            let price = price(spacing.interval, cost);
            ahead.saturating_sub(price.saturating_sub(since))
        });
    }

    /// Moves a word, whatever the tokens in the bucket. Returns false if the bucket is lost.
    pub(crate) fn update(
        &self,
        word: &AtomicU64,
        now: u64,
        is_ours: impl Fn() -> bool,
        next: impl Fn(u64, Spacing) -> u64,
    ) -> bool {
        let units = Spacing::units(now);
        let next = |full_at: u64, spacing| {
            units.saturating_add(next(full_at.saturating_sub(units), spacing))
        };
        self.rewrite(word, units, is_ours, next)
    }

    /// Puts another time into a word. Returns false if the bucket is lost.
    pub(crate) fn rewrite(
        &self,
        word: &AtomicU64,
        units: u64,
        is_ours: impl Fn() -> bool,
        mut next: impl FnMut(u64, Spacing) -> u64,
    ) -> bool {
        loop {
            let Some((spacing, era, seen)) = self.read(word, units) else {
                return false;
            };
            if !is_ours() {
                return false;
            }
            let next = next(seen ^ era, spacing) & !ERA | era;
            // Relaxed: the word guards nothing but itself.
            if word
                .compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                return true;
            }
        }
    }

    /// Returns what is in the bucket, unless it is lost.
    pub(crate) fn look(&self, word: &AtomicU64, now: u64) -> Option<Level> {
        let units = Spacing::units(now);
        let (spacing, era, seen) = self.read(word, units)?;
        let ahead = (seen ^ era).saturating_sub(units);
        Some(Level { ahead, spacing })
    }

    /// Changes the quota. The words of all buckets are then to be [settled](Self::settle) before the next change.
    pub(crate) fn change(&self, quota: &Quota) {
        let numbers = [&self.interval, &self.depth];
        let era = (self.interval.load(Ordering::Relaxed) & ERA) ^ ERA;
        for (number, was) in numbers.into_iter().zip(&self.was) {
            was.store(number.load(Ordering::Relaxed) & !ERA, Ordering::Relaxed);
        }
        let Spacing { interval, depth } = quota.spacing();
        self.advert.store(advert(quota), Ordering::Relaxed);
        for (number, new) in numbers.into_iter().zip([interval, depth]) {
            // Release: who sees a number of the new era sees those of the old one.
            number.store(new | era, Ordering::Release);
        }
    }

    /// Brings a word into the present era. Returns false if the bucket is lost.
    #[cold]
    #[inline(never)]
    pub(crate) fn settle(&self, word: &AtomicU64, units: u64) -> bool {
        self.read(word, units).is_some()
    }

    /// Reads the numbers and a word of one era.
    pub(crate) fn read(&self, word: &AtomicU64, units: u64) -> Option<(Spacing, u64, u64)> {
        loop {
            // The word first. Acquire pairs with the Release that brought it into its era: the numbers are of that era or of the next,
            // never of the one before.
            let seen = word.load(Ordering::Acquire);
            if seen == CLAIMED {
                return None;
            }
            // Acquire pairs with the Release of `change`.
            let interval = self.interval.load(Ordering::Acquire);
            let depth = self.depth.load(Ordering::Acquire);
            let era = interval & ERA;
            if depth & ERA != era {
                // Another thread is between two stores.
                spin_loop();
                continue;
            }
            let [interval, depth] = [interval, depth].map(|number| number & !ERA);
            let new = Spacing { interval, depth };
            if seen & ERA == era {
                return Some((new, era, seen));
            }
            let next = match seen & !ERA {
                full_at if self.forgets && full_at <= units => full_at,
                full_at => converted(full_at, units, self.was(), new),
            };
            let next = next | era;
            // Release: see above. Whoever fails reads what another thread made of it.
            let _ = word.compare_exchange(seen, next, Ordering::Release, Ordering::Relaxed);
        }
    }

    fn was(&self) -> Spacing {
        // Relaxed: the numbers of the present era were read, with Acquire, before.
        let [interval, depth] = [0, 1].map(|i| self.was[i].load(Ordering::Relaxed));
        Spacing { interval, depth }
    }

    /// Makes the word of a bucket that was full at the time `full_at`, after `cost` tokens were taken from it.
    pub(crate) fn first(&self, full_at: u64, now: u64, cost: u32) -> Result<(u64, Level), Short> {
        let word = self.full(full_at);
        let level = self.take(&word, now, cost, || true)?;
        Ok((word.load(Ordering::Relaxed), level))
    }

    /// Makes the word of a bucket that was full at the time `full_at`, after `cost` tokens were [charged](Self::charge).
    pub(crate) fn first_charge(&self, full_at: u64, now: u64, cost: u32) -> u64 {
        let word = self.full(full_at);
        self.charge(&word, now, cost, || true);
        word.load(Ordering::Relaxed)
    }

    fn full(&self, full_at: u64) -> AtomicU64 {
        let era = self.interval.load(Ordering::Relaxed) & ERA;
        AtomicU64::new(Spacing::units(full_at) | era)
    }

    /// Says whether `cost` tokens could be taken.
    pub(crate) fn check(&self, word: &AtomicU64, now: u64, cost: u32) -> Result<(), Short> {
        let Some(level) = self.look(word, now) else {
            return Err(Short::LOST);
        };
        let price = price(level.spacing.interval, cost);
        let is_short = level.ahead.saturating_add(price) > level.spacing.depth;
        if is_short && cost > 0 {
            let lost = false;
            return Err(Short { level, price, lost });
        }
        Ok(())
    }

    /// Returns the quota as a `RateLimit-Policy` shows it: the calls, and the seconds.
    pub(crate) fn advert(&self) -> [u64; 2] {
        // Relaxed: it is for show.
        let advert = self.advert.load(Ordering::Relaxed);
        [advert >> 32, advert & u64::from(u32::MAX)]
    }
}

/// What so many tokens come to, or more than any bucket holds; ends in the era as the interval does.
#[inline(always)]
fn price(interval: u64, cost: u32) -> u64 {
    if cost == 1 {
        return interval;
    }
    let era = interval & ERA;
    let price = (interval ^ era).saturating_mul(u64::from(cost));
    price.min(Spacing::DEEPEST + 2) | era
}

#[inline(always)]
fn level(ahead: u64, [interval, depth]: [u64; 2]) -> Level {
    let [ahead, interval, depth] = [ahead, interval, depth].map(|number| number & !ERA);
    let spacing = Spacing { interval, depth };
    Level { ahead, spacing }
}

/// Converts the time when a bucket would be full so that the tokens in it, or its debt, stay the same, up to the new burst.
fn converted(word: u64, now: u64, old: Spacing, new: Spacing) -> u64 {
    let ahead = word.saturating_sub(now);
    let scaled = |part: u64| u128::from(part) * u128::from(new.interval);
    let old_interval = u128::from(old.interval);
    let depth = u128::from(new.depth);
    // Rounded against the caller, and to an even number.
    let ahead = match old.depth.checked_sub(ahead) {
        Some(room) => depth.saturating_sub((scaled(room) / old_interval) & !1),
        None => depth + ((scaled(ahead - old.depth).div_ceil(old_interval) + 1) & !1),
    };
    // A debt of a fast quota may be more than time itself under a slow one.
    let most = 2 * Spacing::DEEPEST;
    now + u64::try_from(ahead).map_or(most, |ahead| ahead.min(most))
}

/// The quota as a `RateLimit-Policy` shows it: so many calls in a window of whole seconds.
///
/// The window is the time in which the bucket fills or, if that is longer, the period; no more calls than fit in it are promised.
fn advert(quota: &Quota) -> u64 {
    let (count, per) = (u128::from(quota.count()), quota.period().as_nanos());
    let calls = count.max(quota.burst_size().into());
    let window = (calls * per).div_ceil(count * 1_000_000_000).max(1);
    let calls = count * window * 1_000_000_000 / per;
    let [calls, window] = [calls, window].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    u64::from(calls) << 32 | u64::from(window)
}
