use std::{fmt, sync::Arc};

use towerkit_core::{StateHandle, WakerSet};

use crate::{
    Alike, InvalidSetting,
    adaptive::Meter,
    invalid::Problem,
    report::Report,
    room::Room,
    settings::Settings,
    sync::{Mutex, lock},
    word::Word,
};

/// A handle on the limit of a [`ConcurrencyLimitLayer`](crate::ConcurrencyLimitLayer) and its services.
///
/// Comes from [`ConcurrencyLimitLayer::handle`](crate::ConcurrencyLimitLayer::handle). It shows how the limit stands, and changes it.
#[derive(Clone)]
pub struct ConcurrencyLimitHandle(pub(crate) StateHandle<Arc<Shared>>);

/// The guard behind a [`ConcurrencyLimitLayer`](crate::ConcurrencyLimitLayer), shared by all of its services.
///
/// `K` says which class a call belongs to.
pub struct ConcurrencyLimitPolicy<K = Alike> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sort: K,
}

pub(crate) struct Shared {
    pub(crate) room: Room,
    pub(crate) meter: Option<Mutex<Meter>>,
    pub(crate) report: Report,
    pub(crate) settings: Settings,
    /// The services that wait until there is room, if any are to.
    pub(crate) ready: Option<WakerSet>,
    /// Whether there is more to do for every call that ends.
    pub(crate) follows_up: bool,
}

impl ConcurrencyLimitHandle {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.get().settings.name
    }

    /// Returns how many calls may be in flight.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.0.get().room.word().limit()
    }

    /// Returns how many calls are in flight: admitted, and not yet at the end of their response body.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.0.get().room.word().in_flight()
    }

    /// Returns how many calls wait.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.0.get().room.waiting()
    }

    /// Returns how many calls have been rejected so far.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.0.get().report.rejected()
    }

    /// Changes the limit. An adaptive limit begins anew from there, inside its bounds.
    ///
    /// Calls in flight go on. If they are more than the new limit, none is admitted until enough of them have ended.
    ///
    /// # Errors
    ///
    /// If the limit is not 1 to 2 147 483 647.
    pub fn change(&self, limit: u32) -> Result<(), InvalidSetting> {
        check_limit(limit)?;
        let shared = self.0.get();
        let room = &shared.room;
        let waiting = match &shared.meter {
            // Under the lock, so that of two changes the later one stays.
            Some(meter) => {
                let mut meter = lock(meter);
                room.set_limit(meter.restart(limit))
            }
            None => room.set_limit(limit),
        };
        if waiting {
            room.hand_over(shared.now());
        }
        shared.wake();
        Ok(())
    }
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            room: Room::new(settings.limit, &settings.classes, settings.queue),
            meter: (settings.adaptive.as_ref())
                .map(|adaptive| Mutex::new(adaptive.meter(settings.limit))),
            report: Report::new(&settings),
            ready: settings.backpressure.then(WakerSet::new),
            follows_up: settings.backpressure || settings.adaptive.is_some(),
            settings,
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.settings.clock.now()
    }

    /// Wakes the services that wait until there is room, after a change that may have made some.
    pub(crate) fn wake(&self) {
        if let Some(ready) = &self.ready {
            ready.wake_all();
        }
    }
}

pub(crate) fn check_limit(limit: u32) -> Result<(), InvalidSetting> {
    if limit == 0 || limit > Word::MAX {
        return Err(InvalidSetting(Problem::Limit(limit)));
    }
    Ok(())
}

impl<K: Clone> Clone for ConcurrencyLimitPolicy<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            sort: self.sort.clone(),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.room.word();
        f.debug_struct("ConcurrencyLimitHandle")
            .field("name", &self.settings.name)
            .field("limit", &word.limit())
            .field("in_flight", &word.in_flight())
            .field("waiting", &self.room.waiting())
            .field("rejected", &self.report.rejected())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ConcurrencyLimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<K> fmt::Debug for ConcurrencyLimitPolicy<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
