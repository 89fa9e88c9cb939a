use std::{future::Ready, sync::Arc, time::Duration};

use tower::{
    BoxError,
    retry::{
        Policy, RetryLayer,
        budget::{Budget, TpsBudget},
    },
};
use tower_resilience_retry::RetryLayer as TowerResilience;

/// Three attempts within a budget of 20 % and 10 a second, as tower's own documentation writes it.
#[derive(Debug, Clone)]
pub struct Attempts {
    budget: Arc<TpsBudget>,
    left: u8,
}

impl Policy<u64, u64, BoxError> for Attempts {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _request: &mut u64,
        result: &mut Result<u64, BoxError>,
    ) -> Option<Ready<()>> {
        if result.is_ok() {
            self.budget.deposit();
            return None;
        }
        let may_retry = self.left > 0 && self.budget.withdraw();
        self.left = self.left.saturating_sub(1);
        may_retry.then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

/// Makes tower's retry with its budget.
#[must_use]
pub fn tower_retry() -> RetryLayer<Attempts> {
    let budget = Arc::new(TpsBudget::new(Duration::from_secs(10), 10, 0.2));
    RetryLayer::new(Attempts { budget, left: 2 })
}

/// Makes tower-resilience's retry.
#[must_use]
pub fn tower_resilience_retry() -> TowerResilience<u64, u64, BoxError> {
    TowerResilience::<u64, u64, BoxError>::builder()
        .max_attempts(3)
        .exponential_backoff(Duration::from_millis(100))
        .build()
}
