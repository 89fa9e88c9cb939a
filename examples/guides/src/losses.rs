use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use towerkit_metrics::{Counter, MetricError, Registry};

/// Shows what is lost of logs, spans and metrics as a counter, `telemetry_lost_total`.
#[derive(Default)]
pub struct Losses(Vec<Loss>);

struct Loss {
    count: Box<dyn Fn() -> u64 + Send + Sync>,
    told: AtomicU64,
    counter: Arc<dyn Counter>,
}

impl Losses {
    /// Adds a count that only rises; `what` is its label.
    pub fn of(
        mut self,
        registry: &Registry,
        what: &str,
        count: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Self, MetricError> {
        let help = "Log lines and spans that were lost, and exports that failed.";
        self.0.push(Loss {
            count: Box::new(count),
            told: AtomicU64::new(0),
            counter: registry.counter("telemetry_lost_total", help, &[("what", what)])?,
        });
        Ok(self)
    }

    /// Brings the counter up to date.
    pub fn tell(&self) {
        for loss in &self.0 {
            let now = (loss.count)();
            let told = loss.told.fetch_max(now, Ordering::Relaxed);
            loss.counter.add(now.saturating_sub(told));
        }
    }
}

impl fmt::Debug for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Losses").finish_non_exhaustive()
    }
}
