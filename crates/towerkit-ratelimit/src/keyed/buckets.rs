use towerkit_core::ConfigError;
use towerkit_keyed::{Claim, Entry, KeyTable, WhenFull};

use super::{
    config::KeyedConfig, overflow_reporter::OverflowReporter, overrides::Overrides,
    slot::BucketSlot,
};
use crate::{
    Quota,
    atomic_gcra::AtomicGcra,
    config::BucketKey,
    gcra::{BucketState, Gcra, InsufficientTokens},
    sync::{AtomicU64, Mutex, lock},
    token_bucket::TokenBucket,
};

/// The buckets of a keyed limit: one for each key, one for the keys without a slot, and optionally one for all keys together.
#[derive(Debug)]
pub(crate) struct KeyedBuckets {
    tiers: Box<[Tier]>,
    /// Serializes changes.
    quotas: Mutex<Box<[Quota]>>,
    table: KeyTable<BucketSlot>,
    pub(crate) overrides: Overrides,
    pub(crate) total: Option<TokenBucket>,
    when_full: WhenFull,
    pub(crate) reporter: OverflowReporter,
}

/// A quota that many keys have.
#[derive(Debug)]
struct Tier {
    gcra: AtomicGcra,
    /// The bucket of the keys of this tier that have no slot.
    overflow: AtomicU64,
    /// The tokens taken from that bucket, by a part of the tag: at least those that any one key took.
    shares: Box<[AtomicU64]>,
}

/// The number of parts into which the keys without a slot are divided.
const SHARES: usize = if cfg!(towerkit_loom) { 1 } else { 256 };

/// The bucket of a key that has a slot or an override.
#[derive(Clone, Copy)]
struct KnownBucket<'a> {
    word: Entry<'a, AtomicU64>,
    gcra: &'a AtomicGcra,
}

/// The state of the bucket after a call took from it, and its parameters.
pub(crate) type Taken<'a> = (BucketState, &'a AtomicGcra);

/// The reason for which a call takes no tokens.
pub(crate) enum Denied<'a> {
    /// The bucket of the key, or the shared one, has too few tokens.
    ByKey(InsufficientTokens, &'a AtomicGcra),
    /// The bucket for all keys together has too few tokens.
    ByTotal(InsufficientTokens),
    /// The key finds no slot.
    TableFull,
}

impl KeyedBuckets {
    pub(crate) fn new(config: &KeyedConfig) -> Self {
        Self {
            tiers: config.quotas.iter().map(Tier::new).collect(),
            quotas: Mutex::new(config.quotas.clone().into()),
            table: KeyTable::new(config.capacity),
            overrides: Overrides::new(&config.overrides),
            total: config.total.map(TokenBucket::new),
            when_full: config.when_full,
            reporter: OverflowReporter::new(config.name.clone(), config.events.clone()),
        }
    }

    /// Stores the quotas, as handles have changed them since, in the settings.
    pub(crate) fn save(&self, config: &mut KeyedConfig) {
        config.quotas = lock(&self.quotas).to_vec();
        config.total = self.total.as_ref().map(TokenBucket::quota);
        config.overrides = self.overrides.quotas();
    }

    /// Returns the key of a bucket. A tier that does not exist is the first.
    #[inline(always)]
    pub(crate) fn key(&self, tag: u64, tier: usize) -> BucketKey {
        let tier = if tier < self.tiers.len() { tier } else { 0 };
        BucketKey(tag | tier as u64)
    }

    /// Takes `cost` tokens from the bucket of a key, and from the bucket for all keys. `clock` is read for a refund.
    #[inline(always)]
    pub(crate) fn take(
        &self,
        key: BucketKey,
        now: u64,
        cost: u32,
        clock: impl Fn() -> u64,
    ) -> Result<Taken<'_>, Denied<'_>> {
        if self.total.is_none()
            && let Some(known) = self.find(key)
        {
            match known.take(now, cost) {
                Ok(state) => return Ok((state, known.gcra)),
                Err(insufficient) if insufficient.is_stale => {}
                Err(insufficient) => {
                    return Err(Denied::ByKey(insufficient, known.gcra));
                }
            }
        }
        self.take_from_both(key, now, cost, &clock)
    }

    /// Takes tokens as [`take`](Self::take), also for a new key. If either bucket has too few, the other loses none.
    #[inline(never)]
    fn take_from_both(
        &self,
        key: BucketKey,
        now: u64,
        cost: u32,
        clock: &dyn Fn() -> u64,
    ) -> Result<Taken<'_>, Denied<'_>> {
        let Some(total) = &self.total else {
            return self.take_by_key(key, now, cost);
        };
        // The bucket of the key is checked first and charged last, since a slot that may change hands cannot be refunded.
        if let Some(known) = self.find(key)
            && let Err(insufficient) = known.check(now, cost)
            && !insufficient.is_stale
        {
            return Err(Denied::ByKey(insufficient, known.gcra));
        }
        total.take(now, cost).map_err(Denied::ByTotal)?;
        self.take_by_key(key, now, cost)
            .inspect_err(|_| total.refund(now, clock(), cost))
    }

    fn take_by_key(&self, key: BucketKey, now: u64, cost: u32) -> Result<Taken<'_>, Denied<'_>> {
        let tier = self.tier(key);
        let (gcra, share) = (&tier.gcra, tier.share(key));
        let first = |full_at| gcra.take_first(share, full_at, now, cost);
        loop {
            let (taken, gcra) = match self.find(key) {
                Some(known) => (known.take(now, cost), known.gcra),
                None => match self.table.claim(key.0, now, first) {
                    Ok(Claim::Made(state)) => (Ok(state), gcra),
                    Ok(Claim::Known) => continue,
                    Ok(Claim::Full(lock)) => {
                        let taken = self.take_without_slot(key, now, cost);
                        drop(lock);
                        self.reporter.on_overflow(now, self.table.evicted());
                        return taken;
                    }
                    Err(insufficient) => (Err(insufficient), gcra),
                },
            };
            match taken {
                Ok(state) => return Ok((state, gcra)),
                // Another call of this key may be about to claim the slot.
                Err(insufficient) if insufficient.is_stale => self.table.wait_for_claim(key.0),
                Err(insufficient) => return Err(Denied::ByKey(insufficient, gcra)),
            }
        }
    }

    /// Takes tokens for a key that finds no slot, while the claim lock of the key is held.
    ///
    /// The shared bucket holds no more than the key would have in a bucket of its own: it is read at a time no earlier than the last
    /// eviction, and a slot that the key gets later [lacks](AtomicGcra::take_first) the tokens that the key has taken here.
    fn take_without_slot(
        &self,
        key: BucketKey,
        now: u64,
        cost: u32,
    ) -> Result<Taken<'_>, Denied<'_>> {
        let tier = self.tier(key);
        let gcra = &tier.gcra;
        match self.when_full {
            WhenFull::Reject => Err(Denied::TableFull),
            WhenFull::Bypass => {
                let (_, parameters) = gcra.read(&tier.overflow);
                let state = BucketState {
                    until_full: 0,
                    gcra: parameters,
                };
                Ok((state, gcra))
            }
            WhenFull::Share => {
                let now = now.max(self.table.evicted_at());
                match gcra.take(&tier.overflow, now, cost, || true) {
                    Ok(state) => {
                        gcra.charge(tier.share(key), now, cost, || true);
                        Ok((state, gcra))
                    }
                    Err(insufficient) => Err(Denied::ByKey(insufficient, gcra)),
                }
            }
        }
    }

    /// Takes tokens that are already spent.
    pub(crate) fn charge(&self, key: BucketKey, now: u64, cost: u32) {
        if let Some(total) = &self.total {
            total.charge(now, cost);
        }
        let tier = self.tier(key);
        let (gcra, share) = (&tier.gcra, tier.share(key));
        let first = |full_at| {
            let word = gcra.charge_first(share, full_at, now, cost);
            Ok::<_, InsufficientTokens>((word, ()))
        };
        loop {
            if let Some(known) = self.find(key)
                && known.charge(now, cost)
            {
                return;
            }
            match self.table.claim(key.0, now, first) {
                Ok(Claim::Known) | Err(_) => {}
                Ok(Claim::Made(())) => return,
                Ok(Claim::Full(_lock)) => {
                    for word in [&tier.overflow, share] {
                        gcra.charge(word, now, cost, || true);
                    }
                    return;
                }
            }
        }
    }

    #[inline(always)]
    fn find(&self, key: BucketKey) -> Option<KnownBucket<'_>> {
        if let Some(entry) = self.overrides.find(key.tag()) {
            return Some(KnownBucket {
                word: entry.map(|slot| &slot.bucket().word),
                gcra: &entry.value.bucket().gcra,
            });
        }
        let entry = self.table.find(key.0)?;
        Some(KnownBucket {
            word: entry.map(|slot| &slot.0),
            gcra: &self.tier(key).gcra,
        })
    }

    #[inline(always)]
    fn tier(&self, key: BucketKey) -> &Tier {
        &self.tiers[key.tier()]
    }

    /// Returns the number of tokens of a key.
    pub(crate) fn available(&self, key: BucketKey, now: u64) -> u32 {
        let state = self.find(key).and_then(|known| known.state(now));
        match state {
            Some(state) => state.tokens(),
            // A key without a slot has a full bucket.
            None => lock(&self.quotas)[key.tier()].burst_size(),
        }
    }

    /// Returns the quota of a tier.
    pub(crate) fn quota(&self, tier: usize) -> Option<Quota> {
        lock(&self.quotas).get(tier).copied()
    }

    /// Changes the quota of a tier, see [`TokenBucket::set_quota`]. Converts all buckets, while calls take from them.
    pub(crate) fn set_quota(&self, tier: usize, quota: Quota, now: u64) -> Result<(), ConfigError> {
        let mut quotas = lock(&self.quotas);
        let tiers = quotas.len();
        let Some(current) = quotas.get_mut(tier) else {
            let expected = format!("the index of one of {tiers} tiers");
            return Err(ConfigError::new("tier", tier, expected));
        };
        *current = quota;
        let units = Gcra::units(now);
        let Tier {
            gcra,
            overflow,
            shares,
        } = &self.tiers[tier];
        gcra.set_quota(&quota);
        for word in shares.iter().chain([overflow]) {
            gcra.convert(word, units, || true);
        }
        // A new key may be about to get a word of the generation before.
        self.table.wait_for_claims();
        self.table.for_each(|tag, entry| {
            if BucketKey(tag).tier() == tier {
                gcra.convert(&entry.value.0, units, || entry.is_current());
            }
        });
        Ok(())
    }

    pub(crate) fn keys(&self) -> u64 {
        self.table.keys()
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.table.evicted()
    }
}

impl Tier {
    fn new(quota: &Quota) -> Self {
        Self {
            gcra: AtomicGcra::forgetting_full_buckets(quota),
            overflow: AtomicU64::new(0),
            shares: (0..SHARES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn share(&self, key: BucketKey) -> &AtomicU64 {
        &self.shares[(key.0 >> 6) as usize % SHARES]
    }
}

impl KnownBucket<'_> {
    #[inline(always)]
    fn take(&self, now: u64, cost: u32) -> Result<BucketState, InsufficientTokens> {
        let Self { word, gcra } = self;
        gcra.take(word.value, now, cost, || word.is_current())
    }

    fn charge(&self, now: u64, cost: u32) -> bool {
        let Self { word, gcra } = self;
        gcra.charge(word.value, now, cost, || word.is_current())
    }

    fn check(&self, now: u64, cost: u32) -> Result<(), InsufficientTokens> {
        let Self { word, gcra } = self;
        gcra.check(word.value, now, cost, || word.is_current())
    }

    fn state(&self, now: u64) -> Option<BucketState> {
        let Self { word, gcra } = self;
        gcra.state(word.value, now, || word.is_current())
    }
}
