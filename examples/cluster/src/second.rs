use std::{fmt, time::Duration};

use crate::Phase;

/// One second of the demo: a line of the table, and a point of each plot.
#[derive(Debug, Clone)]
pub struct Second {
    /// The number of the second, from 1.
    pub second: u32,
    /// The phase.
    pub phase: Phase,
    /// The instances in the registry, as the front knows it.
    pub known: usize,
    /// The calls that arrived at each instance.
    pub arrived: [u64; 3],
    /// The calls that the front answered with success.
    pub served: u64,
    /// The calls that failed at the front.
    pub failed: u64,
    /// The median latency of the served calls.
    pub p50: Duration,
    /// The 99th percentile of it.
    pub p99: Duration,
}

impl Second {
    /// The names of the columns.
    pub const HEADER: &str =
        "second phase          known   at a   at b   at c served failed p50/ms p99/ms";
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.arrived;
        write!(
            f,
            "{:>6} {:<14} {:>5} {a:>6} {b:>6} {c:>6} {:>6} {:>6} {:>6.1} {:>6.1}",
            self.second,
            self.phase.as_str(),
            self.known,
            self.served,
            self.failed,
            self.p50.as_secs_f64() * 1000.0,
            self.p99.as_secs_f64() * 1000.0,
        )
    }
}
