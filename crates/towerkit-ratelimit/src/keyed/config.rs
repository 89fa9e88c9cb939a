use std::collections::HashMap;

use towerkit_core::{Clock, EventQueue, Name};
use towerkit_keyed::{KeyHasher, WhenFull};

use crate::Quota;

/// The settings of a keyed limit that do not depend on the type of the calls.
#[derive(Clone)]
pub(crate) struct KeyedConfig {
    /// The quota of each tier.
    pub(crate) quotas: Vec<Quota>,
    /// The quota of all keys together.
    pub(crate) total: Option<Quota>,
    pub(crate) capacity: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) name: Name,
    pub(crate) events: EventQueue,
    pub(crate) clock: Clock,
    pub(crate) hasher: KeyHasher,
    /// The keys that have a quota of their own, by tag.
    pub(crate) overrides: HashMap<u64, Quota>,
}

impl KeyedConfig {
    pub(crate) const MAX_CAPACITY: usize = 1 << 24;

    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            quotas: vec![quota],
            total: None,
            capacity: 100_000,
            when_full: WhenFull::Share,
            name: Name::new("ratelimit"),
            events: EventQueue::default(),
            clock: Clock::default(),
            hasher: KeyHasher::new(),
            overrides: HashMap::new(),
        }
    }
}
