use std::{fmt, time::Duration};

use crate::{
    Mood, Upstream,
    client::{Fate, Stack},
};

/// What became of the calls of one second.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    served: Vec<Duration>,
    limited: u32,
    open: u32,
    failed: u32,
}

impl Tally {
    pub(crate) fn add(&mut self, fate: Fate, latency: Duration) {
        match fate {
            Fate::Served => self.served.push(latency),
            Fate::Limited => self.limited += 1,
            Fate::Open => self.open += 1,
            Fate::Failed => self.failed += 1,
        }
    }

    /// All calls that the limit let through.
    fn admitted(&self) -> usize {
        self.served.len() + (self.open + self.failed) as usize
    }

    fn p99(&self) -> Duration {
        let mut sorted = self.served.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get(last * 99 / 100).copied().unwrap_or_default()
    }
}

/// What the stack and the upstream have counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    retries: u64,
    hedges: u64,
    upstream: u64,
}

impl Seen {
    pub(crate) fn of(stack: &Stack, upstream: &Upstream) -> Self {
        Self {
            retries: stack.retry.snapshot().retries,
            hedges: stack.hedge.snapshot().hedges,
            upstream: upstream.calls(),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            retries: self.retries - before.retries,
            hedges: self.hedges - before.hedges,
            upstream: self.upstream - before.upstream,
        }
    }
}

/// One second, as a line.
#[derive(Debug)]
pub(crate) struct Line {
    second: u32,
    mood: Mood,
    offered: u32,
    tally: Tally,
    seen: Seen,
}

impl Line {
    pub(crate) const HEADER: &str = "second upstream   offered limited admitted served open failed retried hedged arrived p99/ms";

    pub(crate) fn new(second: u32, mood: Mood, tally: Tally, seen: Seen, before: Seen) -> Self {
        Self {
            second,
            mood,
            offered: tally.limited + tally.admitted() as u32,
            tally,
            seen: seen.since(before),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tally, seen, .. } = self;
        write!(
            f,
            "{:>6} {:<10} {:>7} {:>7} {:>8} {:>6} {:>4} {:>6} {:>7} {:>6} {:>7} {:>6}",
            self.second,
            self.mood.as_str(),
            self.offered,
            tally.limited,
            tally.admitted(),
            tally.served.len(),
            tally.open,
            tally.failed,
            seen.retries,
            seen.hedges,
            seen.upstream,
            tally.p99().as_millis(),
        )
    }
}
