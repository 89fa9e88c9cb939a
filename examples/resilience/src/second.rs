use std::{fmt, time::Duration};

use crate::{
    Upstream, UpstreamState,
    client::{CallResult, Stack},
};

/// The results of the calls of one second.
#[derive(Debug, Default)]
pub(crate) struct Results {
    served: Vec<Duration>,
    limited: u64,
    open: u64,
    failed: u64,
}

impl Results {
    pub(crate) fn add(&mut self, result: CallResult, latency: Duration) {
        match result {
            CallResult::Served => self.served.push(latency),
            CallResult::Limited => self.limited += 1,
            CallResult::BreakerOpen => self.open += 1,
            CallResult::Failed => self.failed += 1,
        }
    }

    fn p99(&mut self) -> Duration {
        self.served.sort_unstable();
        let last = self.served.len().saturating_sub(1);
        let p99 = self.served.get(last * 99 / 100);
        p99.copied().unwrap_or_default()
    }
}

/// Counters of the stack and the upstream, since the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters {
    retries: u64,
    hedges: u64,
    arrived: u64,
}

impl Counters {
    pub(crate) fn read(stack: &Stack, upstream: &Upstream) -> Self {
        Self {
            retries: stack.retry.snapshot().retries,
            hedges: stack.hedge.snapshot().hedges,
            arrived: upstream.calls(),
        }
    }
}

/// One second of the demo: a line of the table, and a point of each plot.
#[derive(Debug, Clone)]
pub(crate) struct Second {
    pub(crate) second: u32,
    pub(crate) state: UpstreamState,
    pub(crate) limited: u64,
    pub(crate) served: u64,
    pub(crate) open: u64,
    pub(crate) failed: u64,
    pub(crate) retried: u64,
    pub(crate) hedged: u64,
    pub(crate) arrived: u64,
    pub(crate) p99: Duration,
}

impl Second {
    pub(crate) const HEADER: &str = "second upstream   offered limited admitted served open failed retried hedged arrived p99/ms";

    pub(crate) fn new(
        second: u32,
        state: UpstreamState,
        mut results: Results,
        counters: Counters,
        before: Counters,
    ) -> Self {
        Self {
            second,
            state,
            limited: results.limited,
            served: results.served.len() as u64,
            open: results.open,
            failed: results.failed,
            retried: counters.retries - before.retries,
            hedged: counters.hedges - before.hedges,
            arrived: counters.arrived - before.arrived,
            p99: results.p99(),
        }
    }

    /// Returns the number of calls that the rate limit admitted.
    pub(crate) fn admitted(&self) -> u64 {
        self.served + self.open + self.failed
    }
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6} {:<10} {:>7} {:>7} {:>8} {:>6} {:>4} {:>6} {:>7} {:>6} {:>7} {:>6}",
            self.second,
            self.state.as_str(),
            self.limited + self.admitted(),
            self.limited,
            self.admitted(),
            self.served,
            self.open,
            self.failed,
            self.retried,
            self.hedged,
            self.arrived,
            self.p99.as_millis(),
        )
    }
}
