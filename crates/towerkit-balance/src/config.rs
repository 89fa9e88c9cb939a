use std::{sync::Arc, time::Duration};

use towerkit_core::{Clock, EventQueue, Name};

use crate::OutlierEjection;

/// The options of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) name: Name,
    pub(crate) clock: Clock,
    pub(crate) events: EventQueue,
    pub(crate) outlier_ejection: Option<OutlierEjection>,
    pub(crate) failure_penalty: Duration,
    pub(crate) max_wait: Duration,
    pub(crate) slow_start: Duration,
    pub(crate) zone: Option<ZonePreference>,
}

/// The zone whose instances get all calls, while at least this number of them is well.
#[derive(Debug, Clone)]
pub(crate) struct ZonePreference {
    pub(crate) zone: Arc<str>,
    pub(crate) min_instances: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: Name::new("balance"),
            clock: Clock::default(),
            events: EventQueue::default(),
            outlier_ejection: Some(OutlierEjection::default()),
            failure_penalty: Duration::from_secs(1),
            max_wait: Duration::ZERO,
            slow_start: Duration::ZERO,
            zone: None,
        }
    }
}
