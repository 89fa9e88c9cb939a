use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// A loop that does nothing, which tells whether the core is ours.
///
/// A neighbour on the same physical core, also one in another virtual machine, slows everything down by half or more, and not
/// everything alike: what was measured beside it compares with nothing.
#[derive(Debug)]
pub(crate) struct Yardstick {
    best: Duration,
}

/// Turns of the loop: some ten microseconds.
const TURNS: u32 = 20_000;
/// How much slower than ever before the loop may be.
const TOLERANCE: f64 = 1.15;

impl Yardstick {
    /// Looks for a moment in which nobody disturbs.
    pub(crate) fn new() -> Self {
        let best = (0..10_000).map(|_| turn()).min();
        Self {
            best: best.expect("there is a turn"),
        }
    }

    /// Whether nobody disturbs at this moment.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let turn = turn();
        self.best = self.best.min(turn);
        turn.as_secs_f64() <= self.best.as_secs_f64() * TOLERANCE
    }
}

fn turn() -> Duration {
    let start = Instant::now();
    for turn in 0..TURNS {
        black_box(turn);
    }
    start.elapsed()
}
