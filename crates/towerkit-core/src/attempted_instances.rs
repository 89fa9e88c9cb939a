use std::cell::Cell;

/// The instances to which the attempts of one call went, so that a further attempt goes elsewhere.
///
/// A retry or a hedge [enters](Self::enter) it around each attempt and each poll of it. A load balancer further in
/// [records](Self::record) the instance that it chooses, and avoids those that are [recorded](Self::contains). The layers between
/// need no knowledge of it, but a layer that spawns a task for the call hides it.
///
/// The last four instances are kept.
///
/// ```
/// use towerkit_core::AttemptedInstances;
///
/// let mut attempted = AttemptedInstances::default();
/// attempted.enter(|| AttemptedInstances::record(7));
/// attempted.enter(|| assert!(AttemptedInstances::current().is_some_and(|attempted| attempted.contains(7))));
/// assert_eq!(AttemptedInstances::current(), None);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttemptedInstances {
    /// The ids, the latest first; 0 is none.
    ids: [u32; 4],
}

thread_local! {
    static CURRENT: Cell<Option<AttemptedInstances>> = const { Cell::new(None) };
}

impl AttemptedInstances {
    /// Runs a part of an attempt, such as one poll, and keeps the instances that are recorded meanwhile.
    ///
    /// The instances of an outer layer, such as a retry around a hedge, count too, and the outer layer learns those that are recorded.
    /// The previous value is restored after a panic, too.
    #[inline(always)]
    pub fn enter<R>(&mut self, run: impl FnOnce() -> R) -> R {
        struct Restore<'a> {
            attempted: &'a mut AttemptedInstances,
            outer: Option<AttemptedInstances>,
        }
        impl Drop for Restore<'_> {
            #[inline(always)]
            fn drop(&mut self) {
                let current = CURRENT.replace(self.outer);
                *self.attempted = current.unwrap_or_default();
                if self.outer.is_some() {
                    CURRENT.set(current);
                }
            }
        }
        let outer = CURRENT.get();
        let attempted = match outer {
            None => *self,
            Some(outer) => self.with_all(outer),
        };
        CURRENT.set(Some(attempted));
        let _restore = Restore {
            attempted: self,
            outer,
        };
        run()
    }

    /// Returns the instances of the call that this thread is polling; `None` if there will be no further attempt.
    #[inline(always)]
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.get()
    }

    /// Records an instance for the call that this thread is polling, if there may be a further attempt.
    ///
    /// The id is unique in the process, and not 0.
    #[inline(always)]
    pub fn record(id: u32) {
        if let Some(attempted) = CURRENT.get() {
            CURRENT.set(Some(attempted.with(id)));
        }
    }

    /// Returns true if an attempt of the call that this thread is polling went to this instance.
    #[inline(always)]
    #[must_use]
    pub fn has_current(id: u32) -> bool {
        CURRENT.with(|current| match current.get() {
            None => false,
            Some(attempted) => attempted.contains(id),
        })
    }

    /// Returns true if an attempt went to this instance.
    #[inline(always)]
    #[must_use]
    pub fn contains(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }

    #[inline(always)]
    fn with(self, id: u32) -> Self {
        if self.contains(id) {
            return self;
        }
        let [a, b, c, _] = self.ids;
        Self { ids: [id, a, b, c] }
    }

    /// Adds the instances of an outer layer, the latest of which stay the latest.
    #[cold]
    fn with_all(self, outer: Self) -> Self {
        let ids = outer.ids.iter().rev().filter(|id| **id != 0);
        ids.fold(self, |all, id| all.with(*id))
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn current() -> AttemptedInstances {
        AttemptedInstances::current().unwrap()
    }

    #[test]
    fn a_call_that_is_not_tried_again_records_nothing() {
        AttemptedInstances::record(1);
        assert_eq!(AttemptedInstances::current(), None);
    }

    #[test]
    fn the_last_four_are_kept() {
        let mut attempted = AttemptedInstances::default();
        for id in [1, 2, 2, 3, 4, 5] {
            attempted.enter(|| AttemptedInstances::record(id));
        }
        let kept: Vec<_> = (0..=6)
            .filter(|id| *id > 0 && attempted.contains(*id))
            .collect();
        assert_eq!(kept, [2, 3, 4, 5]);
    }

    #[test]
    fn an_inner_layer_sees_the_instances_of_the_outer_one_and_adds_to_them() {
        let (mut outer, mut inner) = (AttemptedInstances::default(), AttemptedInstances::default());
        outer.enter(|| {
            AttemptedInstances::record(1);
            inner.enter(|| {
                assert!(current().contains(1));
                AttemptedInstances::record(2);
            });
            assert!(current().contains(2));
        });
        assert!(outer.contains(1) && outer.contains(2));
        assert!(inner.contains(1) && inner.contains(2));
        assert_eq!(AttemptedInstances::current(), None);
    }

    #[test]
    fn a_panic_leaves_the_call_before() {
        let mut attempted = AttemptedInstances::default();
        let panicked = catch_unwind(move || {
            attempted.enter(|| {
                AttemptedInstances::record(1);
                panic!("inside")
            })
        });
        assert!(panicked.is_err());
        assert_eq!(AttemptedInstances::current(), None);
    }
}
