use std::{
    any::Any,
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::watch;

type Observer<T> = dyn Fn(&T) + Send + Sync;

/// A value that can be read at any time, and that calls its observers when it changes.
///
/// Observers are called in order and outside of locks, by the thread that changes the value, or by the thread that is calling them
/// already. An observer that is late sees only the latest value.
pub(crate) struct Observable<T> {
    value: watch::Sender<T>,
    observers: Mutex<Observers<T>>,
}

struct Observers<T> {
    /// The number of changes so far; each observer has the number that it has seen.
    version: u64,
    list: Vec<(Weak<Observer<T>>, u64)>,
    is_calling: bool,
}

impl<T: Clone + Send + Sync + 'static> Observable<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: watch::Sender::new(value),
            observers: Mutex::new(Observers {
                version: 1,
                list: Vec::new(),
                is_calling: false,
            }),
        }
    }

    pub(crate) fn get(&self) -> T {
        self.value.borrow().clone()
    }

    pub(crate) fn receiver(&self) -> watch::Receiver<T> {
        self.value.subscribe()
    }

    /// Resolves when there is no receiver.
    pub(crate) async fn closed(&self) {
        self.value.closed().await;
    }

    /// Replaces the value by the result of `next`, which runs under the lock, and calls the observers.
    pub(crate) fn update(&self, next: impl FnOnce(&T) -> Option<T>) {
        let mut observers = self.observers();
        let Some(next) = next(&self.value.borrow()) else {
            return;
        };
        let previous = self.value.send_replace(next);
        observers.version += 1;
        drop(observers);
        drop(previous);
        self.call_observers();
    }

    /// Calls `observe` with the value, and again after each change until the subscription is dropped.
    ///
    /// `keep_alive` lives as long as the subscription.
    pub(crate) fn subscribe(
        &self,
        observe: impl Fn(&T) + Send + Sync + 'static,
        keep_alive: impl Send + Sync + 'static,
    ) -> Subscription {
        let observe: Arc<Observer<T>> = Arc::new(observe);
        self.observers().list.push((Arc::downgrade(&observe), 0));
        self.call_observers();
        Subscription {
            _observer: Box::new((observe, keep_alive)),
        }
    }

    fn call_observers(&self) {
        let mut observers = self.observers();
        if mem::replace(&mut observers.is_calling, true) {
            return;
        }
        loop {
            let version = observers.version;
            observers
                .list
                .retain(|(observer, _)| observer.strong_count() > 0);
            let late: Vec<_> = observers
                .list
                .iter_mut()
                .filter(|(_, seen)| *seen != version)
                .filter_map(|(observer, seen)| {
                    *seen = version;
                    observer.upgrade()
                })
                .collect();
            if late.is_empty() {
                observers.is_calling = false;
                return;
            }
            let value = self.get();
            drop(observers);
            for observe in late {
                // The next observer must not miss the change because of this one.
                let _ = catch_unwind(AssertUnwindSafe(|| observe(&value)));
            }
            observers = self.observers();
        }
    }

    fn observers(&self) -> MutexGuard<'_, Observers<T>> {
        self.observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The calls of an observer, which end when it is dropped.
#[must_use = "the observer is not called after the subscription is dropped"]
pub struct Subscription {
    _observer: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread,
    };

    use super::*;

    fn recorder<T: Clone + Send + 'static>() -> (Arc<Mutex<Vec<T>>>, impl Fn(&T) + Send + Sync) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = seen.clone();
        (seen, move |value: &T| {
            record.lock().unwrap().push(value.clone());
        })
    }

    #[test]
    fn an_observer_is_called_now_and_after_each_change_until_its_subscription_is_dropped() {
        let observable = Observable::new(1);
        let (seen, record) = recorder();
        let subscription = observable.subscribe(record, ());
        observable.update(|value| Some(value + 1));
        observable.update(|_| None);
        drop(subscription);
        observable.update(|value| Some(value + 1));
        assert_eq!(*seen.lock().unwrap(), [1, 2]);
        assert_eq!(observable.get(), 3);
    }

    #[test]
    fn an_observer_may_change_the_value_and_subscribe_others() {
        let observable = Arc::new(Observable::new(1));
        let (seen, record) = recorder();
        let inner = Mutex::new(None);
        let (other, other_record) = recorder();
        let other_record = Arc::new(other_record);
        let changed = Arc::downgrade(&observable);
        let _subscription = observable.subscribe(
            move |value| {
                record(value);
                let observable = changed.upgrade().unwrap();
                if *value == 1 {
                    observable.update(|_| Some(2));
                    let record = other_record.clone();
                    *inner.lock().unwrap() =
                        Some(observable.subscribe(move |value| record(value), ()));
                }
            },
            (),
        );
        assert_eq!(*seen.lock().unwrap(), [1, 2]);
        assert_eq!(*other.lock().unwrap(), [2]);
    }

    #[test]
    fn a_panic_of_an_observer_stops_neither_the_others_nor_later_calls() {
        let observable = Observable::new(1);
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let _panics = observable.subscribe(
            move |_| {
                count.fetch_add(1, SeqCst);
                panic!("observer");
            },
            (),
        );
        let (seen, record) = recorder();
        let _subscription = observable.subscribe(record, ());
        observable.update(|value| Some(value + 1));
        assert_eq!(*seen.lock().unwrap(), [1, 2]);
        assert_eq!(calls.load(SeqCst), 2);
    }

    #[test]
    fn the_last_value_reaches_every_observer_under_concurrent_changes() {
        for _ in 0..50 {
            let observable = Observable::new(0);
            let (seen, record) = recorder();
            let _subscription = observable.subscribe(record, ());
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        for _ in 0..100 {
                            observable.update(|value| Some(value + 1));
                        }
                    });
                }
            });
            let seen = seen.lock().unwrap();
            assert_eq!(seen.last(), Some(&300));
            assert!(seen.is_sorted());
        }
    }
}
