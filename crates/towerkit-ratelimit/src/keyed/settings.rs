use std::{hash::RandomState, sync::Arc};

use towerkit_core::{Clock, EventSink};

use crate::Quota;

/// What becomes of a call whose key finds no room, because no bucket is full that could be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// It takes from a bucket that all such keys share, of the same quota. The default.
    ///
    /// A key that gets a bucket of its own later finds in it no more tokens than if it had taken from it all along. Of 256 newcomers,
    /// one is counted together with that key, and so may find fewer at first.
    #[default]
    Share,
    /// It is rejected as [`Overloaded`](towerkit_core::RejectionReason::Overloaded).
    Reject,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) quotas: Vec<Quota>,
    pub(crate) total: Option<Quota>,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    pub(crate) name: &'static str,
    pub(crate) sink: Option<Arc<dyn EventSink>>,
    pub(crate) clock: Clock,
    /// Of the hashes of keys.
    pub(crate) seed: RandomState,
    /// The keys that have a quota of their own, by their tags.
    pub(crate) overrides: Vec<(u64, Quota)>,
}

impl Settings {
    pub(crate) const LARGEST: usize = 1 << 24;

    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            quotas: vec![quota],
            total: None,
            capacity: 100_000,
            overflow: Overflow::default(),
            name: "ratelimit",
            sink: None,
            clock: Clock::default(),
            seed: RandomState::new(),
            overrides: Vec::new(),
        }
    }
}
