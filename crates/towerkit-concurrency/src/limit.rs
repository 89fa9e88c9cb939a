use std::{fmt, sync::Arc};

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

/// A concurrency limit, shared by the layer, its services and whoever holds a handle.
///
/// Comes from [`ConcurrencyLimitLayer::handle`](crate::ConcurrencyLimitLayer::handle). It shows how the limit stands, and changes it.
/// `K` says which class a call belongs to.
pub struct ConcurrencyLimit<K = Alike> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sort: K,
}

pub(crate) struct Shared {
    pub(crate) room: Room,
    pub(crate) meter: Option<Mutex<Meter>>,
    pub(crate) report: Report,
    pub(crate) settings: Settings,
}

impl<K> ConcurrencyLimit<K> {
    pub(crate) fn new(settings: Settings, sort: K) -> Self {
        let shared = Shared {
            room: Room::new(settings.limit, &settings.classes, settings.queue),
            meter: (settings.adaptive.as_ref())
                .map(|adaptive| Mutex::new(adaptive.meter(settings.limit))),
            report: Report::new(&settings),
            settings,
        };
        Self {
            shared: Arc::new(shared),
            sort,
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.shared.settings.name
    }

    /// Returns how many calls may be in flight.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.shared.room.word().limit()
    }

    /// Returns how many calls are in flight: admitted, and not yet at the end of their response body.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.shared.room.word().in_flight()
    }

    /// Returns how many calls wait.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.shared.room.waiting()
    }

    /// Returns how many calls have been refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.report.refused()
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
        let room = &self.shared.room;
        let waiting = match &self.shared.meter {
            // Under the lock, so that of two changes the later one stays.
            Some(meter) => {
                let mut meter = lock(meter);
                room.set_limit(meter.restart(limit))
            }
            None => room.set_limit(limit),
        };
        if waiting {
            room.hand_over(self.shared.now());
        }
        Ok(())
    }

    /// The same limit, for another way to sort calls.
    pub(crate) fn sorted<L>(&self, sort: L) -> ConcurrencyLimit<L> {
        ConcurrencyLimit {
            shared: self.shared.clone(),
            sort,
        }
    }
}

impl Shared {
    pub(crate) fn now(&self) -> u64 {
        self.settings.clock.now()
    }
}

pub(crate) fn check_limit(limit: u32) -> Result<(), InvalidSetting> {
    if limit == 0 || limit > Word::MAX {
        return Err(InvalidSetting(Problem::Limit(limit)));
    }
    Ok(())
}

impl<K: Clone> Clone for ConcurrencyLimit<K> {
    fn clone(&self) -> Self {
        self.sorted(self.sort.clone())
    }
}

impl<K> fmt::Debug for ConcurrencyLimit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("name", &self.name())
            .field("limit", &self.limit())
            .field("in_flight", &self.in_flight())
            .field("waiting", &self.waiting())
            .field("refused", &self.refused())
            .finish_non_exhaustive()
    }
}
