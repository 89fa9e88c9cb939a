//! Models for loom: every interleaving of services that wait and a guard that lets calls in again.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use loom::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::{Backpressure, WakerSet, sync};

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        // SeqCst: it is the word of the executor, not what is looked into here.
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A guard that is full until it is freed.
struct Guard {
    is_full: AtomicBool,
    waiting: WakerSet,
}

impl Guard {
    fn full() -> sync::Arc<Self> {
        sync::Arc::new(Self {
            is_full: AtomicBool::new(true),
            waiting: WakerSet::new(),
        })
    }

    fn free(&self) {
        // Relaxed: the promise of the set depends on no order of the guard's own words.
        self.is_full.store(false, Ordering::Relaxed);
        self.waiting.wake_all();
    }

    fn wait(&self) -> Option<WaitingService> {
        let is_full = || self.is_full.load(Ordering::Relaxed);
        let mut wait = self.waiting.backpressure_while(is_full)?;
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let polled = wait.poll(&mut Context::from_waker(&waker));
        Some(WaitingService {
            wait,
            woken,
            polled,
        })
    }
}

/// A service that waits, and was polled once.
struct WaitingService {
    wait: Backpressure,
    woken: Arc<Woken>,
    polled: Poll<()>,
}

impl WaitingService {
    /// It may go on at once, or was told to.
    fn goes_on(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let is_woken = self.polled.is_ready() || self.woken.0.load(Ordering::SeqCst);
        is_woken && (self.polled.is_ready() || self.wait.poll(&mut cx).is_ready())
    }
}

#[test]
fn loom_a_service_sees_the_change_or_is_woken() {
    loom::model(|| {
        let guard = Guard::full();
        let other = guard.clone();
        let freed = thread::spawn(move || other.free());
        let mut waiting = guard.wait();
        freed.join().unwrap();
        if let Some(waiting) = &mut waiting {
            assert!(waiting.goes_on());
        }
    });
}

#[test]
fn loom_a_service_that_goes_away_takes_no_wake_up_along() {
    loom::model(|| {
        let guard = Guard::full();
        let other = guard.clone();
        let first = guard.wait();
        let freed = thread::spawn(move || other.free());
        let mut second = guard.wait();
        drop(first);
        freed.join().unwrap();
        if let Some(second) = &mut second {
            assert!(second.goes_on());
        }
    });
}

#[test]
fn loom_two_changes_wake_a_service_that_began_between_them() {
    loom::model(|| {
        let guard = Guard::full();
        let (one, other) = (guard.clone(), guard.clone());
        // The first wakes for nothing: the guard is still full.
        let woken = thread::spawn(move || one.waiting.wake_all());
        let freed = thread::spawn(move || other.free());
        let mut waiting = guard.wait();
        woken.join().unwrap();
        freed.join().unwrap();
        if let Some(waiting) = &mut waiting {
            assert!(waiting.goes_on());
        }
    });
}
