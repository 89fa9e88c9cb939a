//! Models for loom: every interleaving of two threads.

use std::sync::Arc;

use loom::{sync::Mutex, thread};

use crate::{
    entry::{Entry, FetchClaim},
    freshness::Lifetime,
    invalidations::Invalidations,
};

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(run);
}

fn entry() -> Arc<Entry<u8>> {
    let lifetime = Lifetime::new(std::time::Duration::from_secs(1)).unwrap();
    Arc::new(Entry::new(7, lifetime.expiry(0), 1, 0))
}

#[test]
fn loom_one_of_two_claims() {
    model(|| {
        let entry = entry();
        let other = entry.clone();
        let other = thread::spawn(move || FetchClaim::take(&other));
        let claims = [FetchClaim::take(&entry), other.join().unwrap()];
        assert_eq!(claims.iter().flatten().count(), 1);
    });
}

/// One thread caches a response that it requested before another invalidates the key: in the end it is not cached.
fn insert_and_invalidate(invalidate: impl Fn(&Invalidations) + Copy + Send + Sync + 'static) {
    model(move || {
        let invalidations = Arc::new(Invalidations::new());
        let place = Arc::new(Mutex::new(None));
        let stamp = invalidations.stamp(0);
        let (their_invalidations, their_place) = (invalidations.clone(), place.clone());
        let other = thread::spawn(move || {
            invalidate(&their_invalidations);
            *their_place.lock().unwrap() = None;
        });
        if invalidations.is_current(&stamp) {
            *place.lock().unwrap() = Some(stamp.generation);
            if !invalidations.is_current(&stamp) {
                *place.lock().unwrap() = None;
            }
        }
        other.join().unwrap();
        let cached = *place.lock().unwrap();
        assert!(!cached.is_some_and(|of| invalidations.is_current_generation(of)));
    });
}

#[test]
fn loom_a_response_requested_before_an_invalidation_is_not_cached() {
    insert_and_invalidate(|invalidations| invalidations.invalidate(0));
}

#[test]
fn loom_a_response_requested_before_a_clear_is_not_cached() {
    insert_and_invalidate(Invalidations::invalidate_all);
}
