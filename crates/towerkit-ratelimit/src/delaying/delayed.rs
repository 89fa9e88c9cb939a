use std::{task::Waker, time::Duration};

use super::line::Line;
use crate::{
    Quota, Taken,
    bucket::Bucket,
    quota::Spacing,
    sync::{Mutex, lock},
};

/// A bucket, and the line of those who wait for its tokens.
#[derive(Debug)]
pub(crate) struct Delayed {
    bucket: Bucket,
    /// Not touched by a call whose tokens are there.
    line: Mutex<Line<Waker>>,
}

/// How long calls may wait, and how many of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) longest: Duration,
    pub(crate) calls: usize,
}

/// What became of a call for which there were not enough tokens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// There are by now.
    Admitted,
    /// It waits, under this number.
    Waits(u64),
    /// It would wait for too long, or there is no room. After this time it may be worth another try.
    Rejected(Duration),
}

impl Delayed {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            bucket: Bucket::new(quota),
            line: Mutex::new(Line::new()),
        }
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Lets a call wait, unless it would wait longer than `longest` or than it has patience.
    pub(crate) fn join(
        &self,
        now: u64,
        cost: u32,
        patience: Patience,
        longest: Duration,
    ) -> Joined {
        let units = Spacing::units(now);
        let mut line = lock(&self.line);
        let wake = self.advance(&mut line, units, None);
        let longest = patience.longest.min(longest);
        let is_full = line.len() >= patience.calls;
        let mut spot = None;
        let mut wait = Duration::ZERO;
        self.bucket.rewrite(|word, spacing| {
            let found = line.spot(word.max(units).into(), spacing, cost);
            wait = until(found.due, units);
            let fits = wait.is_zero() || (wait <= longest && !is_full);
            spot = fits.then_some(found);
            spot.map_or(word, |spot| unsigned(spot.word))
        });
        let joined = match spot {
            None if is_full => Joined::Rejected(self.first_goes(&line, units)),
            None => Joined::Rejected(wait - longest),
            Some(_) if wait.is_zero() => Joined::Admitted,
            Some(spot) => Joined::Waits(line.join(spot)),
        };
        drop(line);
        wake_all(wake);
        joined
    }

    /// Lets all go that are due, and says when this one is; `None` if it went.
    pub(crate) fn look(&self, number: u64, now: u64, waker: &Waker) -> Option<Duration> {
        let units = Spacing::units(now);
        let mut line = lock(&self.line);
        let wake = self.advance(&mut line, units, Some(number));
        let (_, spacing) = self.bucket.read();
        let due = line.wait(number, units.into(), spacing, waker.clone());
        drop(line);
        wake_all(wake);
        due.map(|due| until(due, units))
    }

    /// Gives up a call that waited, or that was let go and did not take notice.
    pub(crate) fn leave(&self, number: u64, cost: u32, now: u64) {
        let units = Spacing::units(now);
        let mut line = lock(&self.line);
        let (_, spacing) = self.bucket.read();
        if let Some(back) = line.leave(number, cost, units.into(), spacing) {
            self.bucket
                .rewrite(|word, _| unsigned(i128::from(word) - back));
        }
        let wake = self.advance(&mut line, units, None);
        drop(line);
        wake_all(wake);
    }

    /// Takes tokens that were spent already: down to a debt of one burst behind those who wait.
    pub(crate) fn charge(&self, now: u64, cost: u32) {
        let units = Spacing::units(now);
        let line = lock(&self.line);
        self.bucket.rewrite(|word, spacing| {
            let word = word.max(units);
            let price = spacing.interval.saturating_mul(cost.into());
            let empty = units + spacing.depth;
            let most = line.seen(spacing).map_or(empty, unsigned).max(empty) + spacing.depth;
            word.saturating_add(price).min(most).max(word)
        });
    }

    pub(crate) fn change_quota(&self, quota: Quota, now: u64) {
        let units = Spacing::units(now);
        let mut line = lock(&self.line);
        let mut wake = self.advance(&mut line, units, None);
        let (_, old) = self.bucket.read();
        self.bucket.change_quota(quota, now);
        let (word, new) = self.bucket.read();
        line.change(word.into(), old, new);
        wake.extend(self.advance(&mut line, units, None));
        drop(line);
        wake_all(wake);
    }

    /// Returns how many calls wait.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.line).len()
    }

    /// Returns what the bucket holds after a call took from it.
    pub(crate) fn taken(&self, now: u64) -> Taken {
        Taken::of_one(self.bucket.level(now), self.bucket.rate.advert())
    }

    /// Lets all go that are due. Returns whom to wake: all these but `me`, and the first that stays if it can go earlier.
    fn advance(&self, line: &mut Line<Waker>, units: u64, me: Option<u64>) -> Vec<Waker> {
        let mut wake = Vec::new();
        if line.len() == 0 {
            return wake;
        }
        let (word, spacing) = self.bucket.read();
        if line.late(word.into(), units.into(), spacing).is_some() {
            let mut base = None;
            self.bucket.rewrite(|word, spacing| {
                let late = line.late(word.into(), units.into(), spacing);
                base = late.map(|(base, _)| base);
                late.map_or(word, |(_, word)| unsigned(word))
            });
            if let Some(base) = base {
                line.put_off(base);
            }
        }
        while let Some((number, waker)) = line.grant(units.into(), spacing) {
            wake.extend(waker.filter(|_| Some(number) != me));
        }
        wake.extend(line.hurry(spacing));
        wake
    }

    /// Returns when the first in line goes.
    fn first_goes(&self, line: &Line<Waker>, units: u64) -> Duration {
        let (_, spacing) = self.bucket.read();
        line.due(spacing)
            .map_or(Duration::ZERO, |due| until(due, units))
    }
}

/// The time from now until then, rounded up.
fn until(then: i128, units: u64) -> Duration {
    let left = then - i128::from(units);
    Duration::from_nanos(Spacing::nanos(unsigned(left)))
}

fn unsigned(units: i128) -> u64 {
    units.clamp(0, u64::MAX.into()) as u64
}

/// Wakes those who can go, after the lock is released.
fn wake_all(wake: Vec<Waker>) {
    wake.into_iter().for_each(Waker::wake);
}
