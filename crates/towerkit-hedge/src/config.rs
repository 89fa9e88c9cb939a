use std::{fmt, sync::Arc};

use towerkit_core::{Clock, EventSink, Name};
use towerkit_retry::Budget;

use crate::{
    percentile::{Bounds, Percentile},
    token_bucket::Cap,
};

/// The options of a layer.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) name: Name,
    pub(crate) delay_source: DelaySource,
    pub(crate) hedges: u8,
    pub(crate) replay: usize,
    pub(crate) cap: Cap,
    pub(crate) budget: Option<Budget>,
    pub(crate) clock: Clock,
    pub(crate) sink: Option<Arc<dyn EventSink>>,
}

/// The source of the delay.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DelaySource {
    Fixed(Bounds),
    Percentile(Percentile),
}

impl Config {
    pub(crate) fn new(delay_source: DelaySource) -> Self {
        Self {
            name: Name::new("hedge"),
            delay_source,
            hedges: 1,
            replay: 64 * 1024,
            cap: Cap::DEFAULT,
            budget: None,
            clock: Clock::default(),
            sink: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("delay_source", &self.delay_source)
            .field("hedges", &self.hedges)
            .field("cap", &self.cap)
            .finish_non_exhaustive()
    }
}
