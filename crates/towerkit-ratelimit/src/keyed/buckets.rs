use std::hash::{BuildHasher, Hash, RandomState};

use super::{
    Overflow,
    overrides::Overrides,
    pressure::Pressure,
    settings::Settings,
    table::{Claim, Place, Table},
};
use crate::{
    InvalidSetting, Quota,
    bucket::Bucket,
    invalid::Problem,
    level::{Level, Short},
    meter::Source,
    quota::Spacing,
    rate::Rate,
    sync::{AtomicU64, Mutex, lock},
};

/// The buckets of a limit by key: one for each key, one for those that find no room, and perhaps one for all together.
#[derive(Debug)]
pub(crate) struct Buckets {
    seed: RandomState,
    classes: Box<[Class]>,
    /// For those who ask, and so that changes come one after the other.
    quotas: Mutex<Box<[Quota]>>,
    table: Table,
    pub(crate) overrides: Overrides,
    pub(crate) total: Option<Bucket>,
    overflow: Overflow,
    pub(crate) pressure: Pressure,
}

#[derive(Debug)]
struct Class {
    rate: Rate,
    /// The bucket of the keys of this class that find no room.
    overflow: AtomicU64,
    /// What was taken from that bucket, by a part of the tag: at least what any one key took.
    shares: Box<[AtomicU64]>,
}

/// Into how many parts the keys fall that find no room: so many buckets more are known of them than one.
const SHARES: usize = if cfg!(towerkit_loom) { 1 } else { 256 };

/// The bucket of a key that is known.
#[derive(Clone, Copy)]
struct Known<'a> {
    place: Place<'a>,
    rate: &'a Rate,
}

/// What was taken, and the numbers of the policy.
pub(crate) type Drawn = (Level, [u64; 2]);

/// Why nothing was taken.
pub(crate) enum Denied {
    /// The bucket of the key, or the one it shares, has not enough.
    Key(Short, [u64; 2]),
    /// The bucket for all has not enough.
    Total(Short),
    /// The key finds no room.
    NoRoom,
}

impl Buckets {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            seed: settings.seed.clone(),
            classes: settings.quotas.iter().map(Class::new).collect(),
            quotas: Mutex::new(settings.quotas.clone().into()),
            table: Table::new(settings.capacity),
            overrides: Overrides::of(&settings.overrides),
            total: settings.total.map(Bucket::new),
            overflow: settings.overflow,
            pressure: Pressure::new(settings.name, settings.sink.clone()),
        }
    }

    /// Puts the quotas into the settings, as they were changed since.
    pub(crate) fn save(&self, settings: &mut Settings) {
        settings.quotas = lock(&self.quotas).to_vec();
        settings.total = self.total.as_ref().map(Bucket::quota);
        settings.overrides = self.overrides.all();
    }

    /// The tag of a key: nothing by which anybody could find it out, or find another one that has the same.
    #[inline(always)]
    pub(crate) fn tag<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        // Never 0 nor 1 above the class.
        (self.seed.hash_one(key) | 32) & !Source::CLASS
    }

    /// The tag of a key in its class. A class that there is not is the first.
    #[inline(always)]
    pub(crate) fn source(&self, tag: u64, class: usize) -> Source {
        let class = if class < self.classes.len() { class } else { 0 };
        Source(tag | class as u64)
    }

    /// Takes `cost` tokens from the bucket of a key, and from the one for all.
    #[inline(always)]
    pub(crate) fn take(
        &self,
        source: Source,
        now: u64,
        cost: u32,
        later: impl Fn() -> u64,
    ) -> Result<Drawn, Denied> {
        if self.total.is_none()
            && let Some(known) = self.known(source)
        {
            match known.take(now, cost) {
                Ok(level) => return Ok((level, known.rate.advert())),
                Err(short) if short.is_lost() => {}
                Err(short) => return Err(Denied::Key(short, known.rate.advert())),
            }
        }
        self.take_of_both(source, now, cost, &later)
    }

    /// Takes tokens as [`take`](Self::take), also for a newcomer. If either bucket rejects, the other loses nothing.
    #[inline(never)]
    fn take_of_both(
        &self,
        source: Source,
        now: u64,
        cost: u32,
        later: &dyn Fn() -> u64,
    ) -> Result<Drawn, Denied> {
        let Some(total) = &self.total else {
            return self.take_of_key(source, now, cost);
        };
        // The bucket of the key is asked first, and taken from last: nobody gives tokens back to a place that may change hands.
        if let Some(known) = self.known(source)
            && let Err(short) = known.check(now, cost)
            && !short.is_lost()
        {
            return Err(Denied::Key(short, known.rate.advert()));
        }
        total.take(now, cost).map_err(Denied::Total)?;
        self.take_of_key(source, now, cost)
            .inspect_err(|_| total.give_back(now, later(), cost))
    }

    fn take_of_key(&self, source: Source, now: u64, cost: u32) -> Result<Drawn, Denied> {
        let class = self.class(source);
        let (rate, share) = (&class.rate, class.share(source));
        loop {
            let (taken, rate) = match self.known(source) {
                Some(known) => (known.take(now, cost), known.rate),
                None => {
                    match self.claim(source, now, |full_at| rate.first(share, full_at, now, cost)) {
                        Ok(Claim::Made(made)) => (Ok(made), rate),
                        Ok(Claim::Known) => continue,
                        Ok(Claim::NoRoom(claiming)) => {
                            let taken = self.take_of_overflow(source, now, cost);
                            drop(claiming);
                            self.pressure.overflowed(now, self.table.evicted());
                            return taken;
                        }
                        Err(short) => (Err(short), rate),
                    }
                }
            };
            match taken {
                Ok(level) => return Ok((level, rate.advert())),
                // Perhaps another call of this key is about to get the place.
                Err(short) if short.is_lost() => self.table.wait_for_claim(source.0),
                Err(short) => return Err(Denied::Key(short, rate.advert())),
            }
        }
    }

    /// Takes tokens for a key that finds no room, as long as it finds none.
    ///
    /// The shared bucket holds no more than the key would have in one of its own: it is looked at no earlier than when any bucket was
    /// last forgotten, and a bucket that the key gets later [lacks](Rate::first) what the key has taken here.
    fn take_of_overflow(&self, source: Source, now: u64, cost: u32) -> Result<Drawn, Denied> {
        if self.overflow == Overflow::Reject {
            return Err(Denied::NoRoom);
        }
        let class = self.class(source);
        let rate = &class.rate;
        let now = now.max(self.table.forgotten_at());
        match rate.take(&class.overflow, now, cost, || true) {
            Ok(level) => {
                rate.charge(class.share(source), now, cost, || true);
                Ok((level, rate.advert()))
            }
            Err(short) => Err(Denied::Key(short, rate.advert())),
        }
    }

    /// Takes tokens that were spent already.
    pub(crate) fn charge(&self, source: Source, now: u64, cost: u32) {
        if let Some(total) = &self.total {
            total.charge(now, cost);
        }
        let class = self.class(source);
        let (rate, share) = (&class.rate, class.share(source));
        let made = |full_at| Ok((rate.first_charge(share, full_at, now, cost), ()));
        loop {
            if let Some(Known { place, rate }) = self.known(source)
                && rate.charge(place.word, now, cost, || place.is_ours())
            {
                return;
            }
            match self.claim(source, now, made) {
                Ok(Claim::Known) | Err(_) => {}
                Ok(Claim::Made(())) => return,
                Ok(Claim::NoRoom(_claiming)) => {
                    for word in [&class.overflow, share] {
                        rate.charge(word, now, cost, || true);
                    }
                    return;
                }
            }
        }
    }

    fn claim<T>(
        &self,
        source: Source,
        now: u64,
        make: impl Fn(u64) -> Result<(u64, T), Short>,
    ) -> Result<Claim<'_, T>, Short> {
        self.table.claim(source.0, now, make)
    }

    #[inline(always)]
    fn known(&self, source: Source) -> Option<Known<'_>> {
        if let Some((place, bucket)) = self.overrides.find(source.key()) {
            let rate = &bucket.rate;
            return Some(Known { place, rate });
        }
        let place = self.table.find(source.0)?;
        let rate = &self.class(source).rate;
        Some(Known { place, rate })
    }

    #[inline(always)]
    fn class(&self, source: Source) -> &Class {
        &self.classes[source.class()]
    }

    /// Returns how many tokens there are for a key.
    pub(crate) fn available(&self, source: Source, now: u64) -> u32 {
        let level = self.known(source).and_then(|known| known.look(now));
        match level {
            Some(level) => level.tokens(),
            // Not known: full.
            None => lock(&self.quotas)[source.class()].burst_size(),
        }
    }

    pub(crate) fn quota(&self, class: usize) -> Option<Quota> {
        lock(&self.quotas).get(class).copied()
    }

    /// Changes the quota of a class, see [`Bucket::change_quota`]. Goes through all buckets; calls go on meanwhile.
    pub(crate) fn change_quota(
        &self,
        class: usize,
        quota: Quota,
        now: u64,
    ) -> Result<(), InvalidSetting> {
        let mut quotas = lock(&self.quotas);
        let of_class = quotas
            .get_mut(class)
            .ok_or(InvalidSetting(Problem::NoClass(class)))?;
        *of_class = quota;
        let units = Spacing::units(now);
        let Class {
            rate,
            overflow,
            shares,
        } = &self.classes[class];
        rate.change(&quota);
        for word in shares.iter().chain([overflow]) {
            rate.convert(word, units, || true);
        }
        // A newcomer may have been given a word of the era before.
        self.table.wait_for_claims();
        self.table.for_each(|tag, place| {
            if Source(tag).class() == class {
                rate.convert(place.word, units, || place.is_ours());
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

impl Class {
    fn new(quota: &Quota) -> Self {
        Self {
            rate: Rate::forgetting(quota),
            overflow: AtomicU64::new(0),
            shares: (0..SHARES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn share(&self, source: Source) -> &AtomicU64 {
        &self.shares[(source.0 >> 6) as usize % SHARES]
    }
}

impl Known<'_> {
    #[inline(always)]
    fn take(&self, now: u64, cost: u32) -> Result<Level, Short> {
        let Self { place, rate } = self;
        rate.take(place.word, now, cost, || place.is_ours())
    }

    /// Says whether tokens could be taken.
    fn check(&self, now: u64, cost: u32) -> Result<(), Short> {
        let Self { place, rate } = self;
        rate.check(place.word, now, cost, || place.is_ours())
    }

    fn look(&self, now: u64) -> Option<Level> {
        let Self { place, rate } = self;
        rate.look(place.word, now, || place.is_ours())
    }
}
