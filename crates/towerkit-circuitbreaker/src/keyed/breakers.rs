use std::{fmt, sync::Arc};

use towerkit_core::StateHandle;

use super::{Key, WhenFull, table::Table};
use crate::{
    CircuitBreakerOptions, CircuitBreakerSnapshot, Mode, calls::Calls, settings::Settings,
};

/// A handle on the breakers of a [`KeyedCircuitBreakerLayer`](crate::KeyedCircuitBreakerLayer) and its services.
///
/// Comes from [`KeyedCircuitBreakerLayer::handle`](crate::KeyedCircuitBreakerLayer::handle).
#[derive(Clone)]
pub struct KeyedCircuitBreakerHandle(pub(super) StateHandle<Breakers>);

/// The breakers that all services of one layer share.
#[derive(Clone)]
pub(crate) struct Breakers(Arc<Shared>);

struct Shared {
    table: Table,
    settings: Settings,
    overflow: WhenFull,
}

impl Breakers {
    pub(crate) fn new(settings: Settings, capacity: usize, overflow: WhenFull) -> Self {
        Self(Arc::new(Shared {
            table: Table::new(settings.clone(), capacity, overflow),
            settings,
            overflow,
        }))
    }

    #[inline(always)]
    pub(crate) fn table(&self) -> &Table {
        &self.0.table
    }

    #[inline(always)]
    pub(crate) fn calls(&self, slot: u32) -> Calls<'_> {
        Calls {
            machine: self.0.table.machine(slot),
            settings: &self.0.settings,
        }
    }

    /// Makes breakers of their own, with other settings.
    pub(crate) fn remade(&self, settings: Settings, overflow: Option<WhenFull>) -> Self {
        Self::new(
            settings,
            self.0.table.capacity(),
            overflow.unwrap_or(self.0.overflow),
        )
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }
}

impl KeyedCircuitBreakerHandle {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.get().settings().name
    }

    /// Returns how many keys have a breaker.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.0.get().table().len()
    }

    /// Returns how many keys can have a breaker.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.get().table().capacity()
    }

    /// Returns how the breaker of `key` stands; `None` if it has none.
    #[must_use]
    pub fn snapshot(&self, key: Key) -> Option<CircuitBreakerSnapshot> {
        let breakers = self.0.get();
        let now = breakers.settings().clock.now();
        (breakers.table()).with(key, |machine| machine.snapshot(now))
    }

    /// Returns how the breaker stands that the keys share which have none of their own; `None` if there is none.
    #[must_use]
    pub fn overflow_snapshot(&self) -> Option<CircuitBreakerSnapshot> {
        let breakers = self.0.get();
        let now = breakers.settings().clock.now();
        (breakers.table().overflow()).map(|machine| machine.snapshot(now))
    }

    /// Changes the mode of one key's breaker, which is made if there is none; returns false if there is no room for it.
    ///
    /// A breaker in another mode than [`set_mode_of_all`](Self::set_mode_of_all) gave to all never leaves for another key.
    pub fn set_mode(&self, key: Key, mode: Mode) -> bool {
        let switched = self
            .0
            .get()
            .table()
            .with_new(key, |machine| machine.switch(mode));
        switched.is_some()
    }

    /// Changes the mode of all breakers, and of those to come.
    pub fn set_mode_of_all(&self, mode: Mode) {
        self.0.get().table().set_mode_of_all(mode);
    }

    /// Returns the options that are in force.
    #[must_use]
    pub fn options(&self) -> CircuitBreakerOptions {
        self.0.get().table().options()
    }

    /// Changes the options of all breakers, and of those to come, each as [`CircuitBreakerHandle::update`](crate::CircuitBreakerHandle::update) does.
    pub fn update(&self, options: CircuitBreakerOptions) {
        self.0.get().table().update(options);
    }
}

impl fmt::Debug for Breakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreakerHandle")
            .field("name", &self.0.settings.name)
            .field("keys", &self.0.table.len())
            .field("capacity", &self.0.table.capacity())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyedCircuitBreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
