use std::{fmt, sync::Arc};

use towerkit_core::{Clock, EventSink};
use towerkit_retry::Budget;

use crate::{
    allowance::Terms,
    percentile::{Bounds, Percentile},
};

/// What a layer is told before it makes its services.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) name: &'static str,
    pub(crate) aim: Aim,
    pub(crate) hedges: u8,
    pub(crate) replay: usize,
    pub(crate) cap: Terms,
    pub(crate) budget: Option<Budget>,
    pub(crate) clock: Clock,
    pub(crate) sink: Option<Arc<dyn EventSink>>,
}

/// What the delay is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    Fixed(Bounds),
    Percentile(Percentile),
}

impl Settings {
    pub(crate) fn new(aim: Aim) -> Self {
        Self {
            name: "hedge",
            aim,
            hedges: 1,
            replay: 64 * 1024,
            cap: Terms::DEFAULT,
            budget: None,
            clock: Clock::default(),
            sink: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("name", &self.name)
            .field("aim", &self.aim)
            .field("hedges", &self.hedges)
            .field("cap", &self.cap)
            .finish_non_exhaustive()
    }
}
