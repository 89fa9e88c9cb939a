use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Detects by the time of an empty loop that another program uses the physical core.
///
/// Such a program, also one in another virtual machine, slows different code down by different factors, of a half or more, so that a
/// measurement beside it cannot be compared with others.
#[derive(Debug)]
pub(crate) struct NoiseDetector {
    fastest: Duration,
}

/// The iterations of the loop, which take about ten microseconds.
const ITERATIONS: u32 = 20_000;
/// The tolerated time of the loop, as a multiple of the fastest.
const TOLERANCE: f64 = 1.15;

impl NoiseDetector {
    /// Runs the loop often enough to find its time on an undisturbed core.
    pub(crate) fn new() -> Self {
        let fastest = (0..10_000).map(|_| time_empty_loop()).min();
        Self {
            fastest: fastest.expect("the loop ran"),
        }
    }

    /// Returns true if the core is undisturbed at this moment.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let time = time_empty_loop();
        self.fastest = self.fastest.min(time);
        time.as_secs_f64() <= self.fastest.as_secs_f64() * TOLERANCE
    }
}

fn time_empty_loop() -> Duration {
    let start = Instant::now();
    for iteration in 0..ITERATIONS {
        black_box(iteration);
    }
    start.elapsed()
}
