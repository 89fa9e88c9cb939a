use std::sync::{Arc, PoisonError};

use crate::sync::{AtomicU64, Mutex, Ordering};

/// A value that is read often and changed now and then.
///
/// Who reads keeps a copy with its version, and looks at the value itself only when there is another version: so to read takes no lock
/// in the long run. No version is ever used twice.
pub(crate) struct Versioned<T> {
    value: Mutex<Arc<T>>,
    version: AtomicU64,
}

/// What a reader keeps.
pub(crate) type Seen<T> = (u64, Arc<T>);

impl<T> Versioned<T> {
    pub(crate) fn new(value: T, version: u64) -> Self {
        Self {
            value: Mutex::new(Arc::new(value)),
            version: AtomicU64::new(version),
        }
    }

    /// Changes the value.
    pub(crate) fn replace(&self, value: T, version: u64) {
        let mut current = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(value);
        // Under the lock, so that a version always belongs to one value. Release, for those who read the version without it.
        self.version.store(version, Ordering::Release);
    }

    /// Returns the value and its version.
    pub(crate) fn current(&self) -> Seen<T> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        // Relaxed: it is only written under this lock.
        (self.version.load(Ordering::Relaxed), value.clone())
    }

    /// Makes sure that what a reader has is the latest that it can know of.
    #[inline]
    pub(crate) fn refresh(&self, seen: &mut Seen<T>) {
        // Acquire: whoever finds a version finds what led to it as well.
        if self.version.load(Ordering::Acquire) != seen.0 {
            *seen = self.current();
        }
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_reader_looks_again_only_after_a_change() {
        let value = Versioned::new("old", 1);
        let mut seen = value.current();
        // Were it to look, it would find this.
        *value.value.lock().unwrap() = Arc::new("unseen");
        value.refresh(&mut seen);
        assert_eq!((seen.0, *seen.1), (1, "old"));
        value.replace("new", 2);
        value.refresh(&mut seen);
        assert_eq!((seen.0, *seen.1), (2, "new"));
    }
}

#[cfg(all(test, towerkit_loom))]
mod loom_models {
    use loom::{sync::Arc, thread};

    use super::*;

    /// A version always belongs to its value, and after a change nobody who knows of it reads what was before.
    #[test]
    fn loom_a_change_is_seen_whole_by_all_who_know_of_it() {
        loom::model(|| {
            let value = Arc::new(Versioned::new(1, 1));
            let says = Arc::new(AtomicU64::new(1));
            let writer = thread::spawn({
                let (value, says) = (value.clone(), says.clone());
                move || {
                    value.replace(2, 2);
                    says.store(2, Ordering::Release);
                }
            });
            let mut seen = value.current();
            for _ in 0..2 {
                let said = says.load(Ordering::Acquire);
                value.refresh(&mut seen);
                assert_eq!(seen.0, *seen.1);
                assert!(seen.0 >= said, "{} {said}", seen.0);
            }
            writer.join().unwrap();
            value.refresh(&mut seen);
            assert_eq!(*seen.1, 2);
        });
    }
}
