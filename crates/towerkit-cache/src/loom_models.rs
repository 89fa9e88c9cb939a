//! Models for loom: every interleaving of two threads.

use std::sync::Arc;

use loom::{sync::Mutex, thread};

use crate::{
    entry::{Claim, Entry},
    epochs::Epochs,
    freshness::Lifetime,
};

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(run);
}

fn entry() -> Arc<Entry<u8>> {
    let lifetime = Lifetime::new(std::time::Duration::from_secs(1)).unwrap();
    Arc::new(Entry::new(7, lifetime.from(0), 1, 0))
}

#[test]
fn loom_one_of_two_claims() {
    model(|| {
        let entry = entry();
        let other = entry.clone();
        let other = thread::spawn(move || Claim::take(&other));
        let claims = [Claim::take(&entry), other.join().unwrap()];
        assert_eq!(claims.iter().flatten().count(), 1);
    });
}

/// One keeps an answer that it asked for before another invalidates the key: in the end it is not there.
fn keep_and_throw_away(throw_away: impl Fn(&Epochs) + Copy + Send + Sync + 'static) {
    model(move || {
        let epochs = Arc::new(Epochs::new());
        let place = Arc::new(Mutex::new(None));
        let stamp = epochs.stamp(0);
        let (their_epochs, their_place) = (epochs.clone(), place.clone());
        let other = thread::spawn(move || {
            throw_away(&their_epochs);
            *their_place.lock().unwrap() = None;
        });
        if epochs.is_current(&stamp) {
            *place.lock().unwrap() = Some(stamp.generation);
            if !epochs.is_current(&stamp) {
                *place.lock().unwrap() = None;
            }
        }
        other.join().unwrap();
        let kept = *place.lock().unwrap();
        assert!(!kept.is_some_and(|of| epochs.is_of(of)));
    });
}

#[test]
fn loom_an_answer_that_was_asked_for_before_is_not_kept() {
    keep_and_throw_away(|epochs| epochs.end(0));
}

#[test]
fn loom_no_answer_outlives_the_end_of_all() {
    keep_and_throw_away(Epochs::end_all);
}
