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
}

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
        let class = |quota| Class {
            rate: Rate::forgetting(quota),
            overflow: AtomicU64::new(0),
        };
        Self {
            seed: RandomState::new(),
            classes: settings.quotas.iter().map(class).collect(),
            quotas: Mutex::new(settings.quotas.clone().into()),
            table: Table::new(settings.capacity),
            overrides: Overrides::new(),
            total: settings.total.map(Bucket::new),
            overflow: settings.overflow,
            pressure: Pressure::new(settings.name, settings.sink.clone()),
        }
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

    /// Takes tokens as [`take`](Self::take), also for a newcomer. If either bucket refuses, the other loses nothing.
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
        let rate = &self.class(source).rate;
        loop {
            let (taken, rate) = match self.known(source) {
                Some(known) => (known.take(now, cost), known.rate),
                None => match self.claim(source, now, |full_at| rate.first(full_at, now, cost)) {
                    Ok(Claim::Made(made)) => (Ok(made), rate),
                    Ok(Claim::Known) => continue,
                    Ok(Claim::NoRoom) => return self.take_of_overflow(source, now, cost),
                    Err(short) => (Err(short), rate),
                },
            };
            match taken {
                Ok(level) => return Ok((level, rate.advert())),
                Err(short) if short.is_lost() => {}
                Err(short) => return Err(Denied::Key(short, rate.advert())),
            }
        }
    }

    fn take_of_overflow(&self, source: Source, now: u64, cost: u32) -> Result<Drawn, Denied> {
        self.pressure.overflowed(now, self.table.evicted());
        if self.overflow == Overflow::Refuse {
            return Err(Denied::NoRoom);
        }
        let Class { rate, overflow } = self.class(source);
        match rate.take(overflow, now, cost, || true) {
            Ok(level) => Ok((level, rate.advert())),
            Err(short) => Err(Denied::Key(short, rate.advert())),
        }
    }

    /// Takes tokens that were spent already.
    pub(crate) fn charge(&self, source: Source, now: u64, cost: u32) {
        if let Some(total) = &self.total {
            total.charge(now, cost);
        }
        let Class { rate, overflow } = self.class(source);
        let made = |full_at| Ok((rate.first_charge(full_at, now, cost), ()));
        loop {
            if let Some(known) = self.known(source) {
                let Known { place, rate } = known;
                if rate.charge(place.word, now, cost, || place.is_ours()) {
                    return;
                }
            }
            match self.claim(source, now, made) {
                Ok(Claim::Known) | Err(_) => {}
                Ok(Claim::Made(())) => return,
                Ok(Claim::NoRoom) => {
                    rate.charge(overflow, now, cost, || true);
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
    ) -> Result<Claim<T>, Short> {
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
        let level = self
            .known(source)
            .and_then(|known| known.rate.look(known.place.word, now));
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
        let Class { rate, overflow } = &self.classes[class];
        rate.change(&quota);
        rate.settle(overflow, units);
        // A newcomer may have been given a word of the era before.
        self.table.wait_for_claims();
        self.table.for_each(|tag, word| {
            if tag != 0 && Source(tag).class() == class {
                rate.settle(word, units);
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

impl Known<'_> {
    #[inline(always)]
    fn take(&self, now: u64, cost: u32) -> Result<Level, Short> {
        let Self { place, rate } = self;
        rate.take(place.word, now, cost, || place.is_ours())
    }

    /// Says whether tokens could be taken.
    fn check(&self, now: u64, cost: u32) -> Result<(), Short> {
        let checked = self.rate.check(self.place.word, now, cost);
        if self.place.is_ours() {
            checked
        } else {
            Err(Short::LOST)
        }
    }
}
