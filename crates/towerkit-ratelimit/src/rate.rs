use crate::{
    Quota,
    level::{Level, Short},
    quota::Spacing,
    sync::{AtomicU64, Ordering},
};

/// The era of a word: how many times the quota was changed, of which one bit is kept.
pub(crate) const ERA: u64 = 1;

/// The word of a place whose owner is about to change, see `keyed/table.rs`: later than any other, so that it holds no token, and by
/// so much less than the largest number that a price can be added to it.
pub(crate) const CLAIMED: u64 = 13 << 60;

/// How fast tokens come and how many there can be, for any number of buckets, each of which is one word.
///
/// The word of a bucket is the time when it would be full: the theoretical arrival time of the generic cell rate algorithm, virtual
/// scheduling (ITU-T I.371, annex A). Taking a token only ever raises it, so that a clock that steps back mints none.
///
/// # Changes
///
/// The quota can be changed while calls go on. The lowest bit of a word is its era, and says which of two sets of numbers it goes by.
/// A change writes the set that no word goes by, and then [converts](Self::convert) one word after the other; no other thread
/// converts any, and the next change begins when all are converted. So no call waits, and each is judged by one quota, which held at
/// some moment of the call: by the old one until its word is converted, and by the new one from then on.
///
/// A call reads the numbers and the word one after the other, and could be held up in between for two whole changes, after which the
/// set that it reads is another one. The count of changes tells: numbers are used only if it is the same before and after. Once they
/// are read, all that can happen is that the word changes twice and comes back to the same bits before the call exchanges it. That
/// call pays the price by which it was judged, as if it had come before the changes.
#[derive(Debug)]
pub(crate) struct Rate {
    /// How many times the quota was changed. Its lowest bit is the present era.
    changes: AtomicU64,
    /// The numbers by era: those of the present quota, and of the one before.
    numbers: [Numbers; 2],
    advert: AtomicU64,
    /// Whether a bucket that is full may be forgotten, and so stays full whatever the burst.
    forgets: bool,
}

/// A [`Spacing`] that changes.
#[derive(Debug)]
struct Numbers {
    interval: AtomicU64,
    depth: AtomicU64,
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
        let spacing = quota.spacing();
        Self {
            forgets,
            changes: AtomicU64::new(0),
            numbers: [Numbers::new(spacing), Numbers::new(spacing)],
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
        loop {
            let (seen, spacing) = self.read(word);
            // Both times end in the era, and the price does not. Nothing overflows: time ends at 2^63, a bucket is no deeper than
            // 2^61, and its word is no farther ahead than 2^62, or 2^62 + 2^60 where it is claimed.
            let units = now << Spacing::SHIFT | seen & ERA;
            let price = price(spacing.interval, cost);
            let next = seen.max(units).wrapping_add(price);
            let ahead = next.wrapping_sub(units);
            if ahead > spacing.depth && cost > 0 {
                let ahead = ahead.wrapping_sub(price);
                let level = Level { ahead, spacing };
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
                return Ok(Level { ahead, spacing });
            }
        }
    }

    /// Reads a word, and the numbers that it goes by.
    #[inline(always)]
    pub(crate) fn read(&self, word: &AtomicU64) -> (u64, Spacing) {
        // Acquire pairs with the Release of `change`: the words are those that the change before left, or later ones.
        let changes = self.changes.load(Ordering::Acquire);
        // Acquire pairs with the Release of `convert`, so that the numbers of its era are there, and with that of a new owner, so that
        // whoever sees its word sees whose it is.
        let seen = word.load(Ordering::Acquire);
        // As nearly always the word is of the present era. Its numbers need not wait for it then.
        let spacing = self.numbers[(changes & ERA) as usize].load();
        let is_past = self.changes.load(Ordering::Relaxed) ^ changes | (seen ^ changes) & ERA;
        if is_past == 0 {
            (seen, spacing)
        } else {
            self.read_during_change(word)
        }
    }

    #[cold]
    #[inline(never)]
    fn read_during_change(&self, word: &AtomicU64) -> (u64, Spacing) {
        loop {
            // As in `read`.
            let changes = self.changes.load(Ordering::Acquire);
            let seen = word.load(Ordering::Acquire);
            let spacing = self.numbers[(seen & ERA) as usize].load();
            if self.changes.load(Ordering::Relaxed) == changes {
                return (seen, spacing);
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
        self.rewrite(word, is_ours, next)
    }

    /// Puts another time into a word. Returns false if the bucket is lost.
    pub(crate) fn rewrite(
        &self,
        word: &AtomicU64,
        is_ours: impl Fn() -> bool,
        mut next: impl FnMut(u64, Spacing) -> u64,
    ) -> bool {
        loop {
            let (seen, spacing) = self.read(word);
            if seen == CLAIMED || !is_ours() {
                return false;
            }
            let next = next(seen & !ERA, spacing) & !ERA | seen & ERA;
            // Relaxed: the word guards nothing but itself.
            if word
                .compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                return true;
            }
        }
    }

    /// Returns what is in the bucket if, once the word is read, it still is the caller's.
    pub(crate) fn look(
        &self,
        word: &AtomicU64,
        now: u64,
        is_ours: impl Fn() -> bool,
    ) -> Option<Level> {
        let (seen, spacing) = self.read(word);
        let ahead = (seen & !ERA).saturating_sub(Spacing::units(now));
        (seen != CLAIMED && is_ours()).then_some(Level { ahead, spacing })
    }

    /// Changes the quota. Changes come one after the other, and all words are [converted](Self::convert) before the next.
    pub(crate) fn change(&self, quota: &Quota) {
        let changes = self.changes.load(Ordering::Relaxed) + 1;
        // Release: who sees this change sees the words as they were converted for the one before.
        self.changes.store(changes, Ordering::Release);
        self.numbers[(changes & ERA) as usize].store(quota.spacing());
        self.advert.store(advert(quota), Ordering::Relaxed);
    }

    /// Brings a word into the present era if, once the word is read, `is_ours` says that it goes by this rate. Part of a change.
    pub(crate) fn convert(&self, word: &AtomicU64, units: u64, is_ours: impl Fn() -> bool) {
        // Relaxed: there is one thread that changes them, which is this one.
        let era = self.changes.load(Ordering::Relaxed) & ERA;
        let [new, old] = [era, era ^ ERA].map(|era| self.numbers[era as usize].load());
        loop {
            let seen = word.load(Ordering::Acquire);
            if seen == CLAIMED || seen & ERA == era || !is_ours() {
                return;
            }
            let next = match seen & !ERA {
                full_at if self.forgets && full_at <= units => full_at,
                full_at => converted(full_at, units, old, new),
            };
            // Release: who sees the word of an era sees its numbers.
            if word
                .compare_exchange(seen, next | era, Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                return;
            }
        }
    }

    /// Makes the word of a newcomer after `cost` tokens were taken from it.
    ///
    /// Its bucket was full at the time `full_at`, and lacks what `share` lacks: at least what the newcomer took so far.
    pub(crate) fn first(
        &self,
        share: &AtomicU64,
        full_at: u64,
        now: u64,
        cost: u32,
    ) -> Result<(u64, Level), Short> {
        let word = newcomer(share, full_at);
        let level = self.take(&word, now, cost, || true)?;
        Ok((word.load(Ordering::Relaxed), level))
    }

    /// Makes the word of a newcomer as [`first`](Self::first), after `cost` tokens were [charged](Self::charge).
    pub(crate) fn first_charge(&self, share: &AtomicU64, full_at: u64, now: u64, cost: u32) -> u64 {
        let word = newcomer(share, full_at);
        self.charge(&word, now, cost, || true);
        word.load(Ordering::Relaxed)
    }

    /// Says whether `cost` tokens could be taken.
    pub(crate) fn check(
        &self,
        word: &AtomicU64,
        now: u64,
        cost: u32,
        is_ours: impl Fn() -> bool,
    ) -> Result<(), Short> {
        let Some(level) = self.look(word, now, is_ours) else {
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

    /// Returns the quota as a `RateLimitPolicy-Policy` shows it: the calls, and the seconds.
    pub(crate) fn advert(&self) -> [u64; 2] {
        // Relaxed: it is for show.
        let advert = self.advert.load(Ordering::Relaxed);
        [advert >> 32, advert & u64::from(u32::MAX)]
    }
}

impl Numbers {
    fn new(spacing: Spacing) -> Self {
        Self {
            interval: AtomicU64::new(spacing.interval),
            depth: AtomicU64::new(spacing.depth),
        }
    }

    /// Acquire: whoever sees a number of a change sees that it began.
    #[inline(always)]
    fn load(&self) -> Spacing {
        Spacing {
            interval: self.interval.load(Ordering::Acquire),
            depth: self.depth.load(Ordering::Acquire),
        }
    }

    /// Release: who sees a number sees that its change began.
    fn store(&self, spacing: Spacing) {
        self.interval.store(spacing.interval, Ordering::Release);
        self.depth.store(spacing.depth, Ordering::Release);
    }
}

/// Makes the word of a bucket that was full at the time `full_at`, or later if `share` says so.
fn newcomer(share: &AtomicU64, full_at: u64) -> AtomicU64 {
    // Acquire: the numbers of its era are there.
    let share = share.load(Ordering::Acquire);
    AtomicU64::new((share & !ERA).max(Spacing::units(full_at)) | share & ERA)
}

/// Returns the price of so many tokens, or more than any bucket holds.
#[inline(always)]
fn price(interval: u64, cost: u32) -> u64 {
    if cost == 1 {
        return interval;
    }
    let price = interval.saturating_mul(u64::from(cost));
    price.min(Spacing::DEEPEST + 2)
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

/// The quota as a `RateLimitPolicy-Policy` shows it: so many calls in a window of whole seconds.
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
