use std::time::Duration;

use tower::{
    balance::p2c::Balance,
    discover::ServiceList,
    load::{CompleteOnResponse, PeakEwma, PendingRequests},
};

use crate::Plain;

/// tower's balancer over so many clones of a service.
pub type TowerBalance<L> = Balance<ServiceList<Vec<L>>, u64>;

/// Makes tower's balancer with the calls in flight as the load.
pub fn tower_balance_pending<S: Plain>(
    inner: &S,
    instances: u16,
) -> TowerBalance<PendingRequests<S>> {
    let loaded =
        (0..instances).map(|_| PendingRequests::new(inner.clone(), CompleteOnResponse::default()));
    Balance::new(ServiceList::new(loaded.collect()))
}

/// Makes tower's balancer with the peak EWMA of latencies as the load, which decays as ours.
pub fn tower_balance_peak_ewma<S: Plain>(inner: &S, instances: u16) -> TowerBalance<PeakEwma<S>> {
    let (default, decay) = (Duration::from_millis(1), Duration::from_secs(10));
    let loaded = (0..instances).map(|_| {
        let decay = decay.as_nanos() as f64;
        PeakEwma::new(inner.clone(), default, decay, CompleteOnResponse::default())
    });
    Balance::new(ServiceList::new(loaded.collect()))
}
