use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use axum::Router;
use bytes::Bytes;
use http::Response;
use http_body::Body;
use tower::Service;
use tracing::{Dispatch, dispatcher::with_default};

use crate::{
    Group, HttpRequest, Label, Measured, Visit, call_http, call_key, call_plain, call_router,
    group::{Runs, compare},
    noise::NoiseDetector,
};

/// How often a group is measured: more than the nine interleaved runs that a ratio needs.
const RUNS: usize = 31;
/// How long one batch takes, about.
const BATCH: Duration = Duration::from_micros(500);
/// Of so many batches in a run the fastest counts, so that a thread that is taken off its core spoils none.
const BATCHES: usize = 3;
/// After so many batches that somebody disturbed, a run takes what it has.
const TRIES: usize = 60;

/// Measures the groups of the catalogue one after the other, each in interleaved runs.
pub struct Bench {
    filter: String,
    title: String,
    cases: Vec<Case>,
    subscriber: Option<Dispatch>,
    noise: NoiseDetector,
    groups: Vec<Group>,
}

struct Case {
    label: Label,
    future: usize,
    batch: Box<dyn FnMut(u32) -> Duration>,
    calls: u32,
    runs: Vec<f64>,
}

impl Bench {
    /// Measures the groups whose title contains `filter`.
    #[must_use]
    pub fn new(filter: String) -> Self {
        Self {
            filter,
            title: String::new(),
            cases: Vec::new(),
            subscriber: None,
            noise: NoiseDetector::new(),
            groups: Vec::new(),
        }
    }

    /// Returns what was measured.
    #[must_use]
    pub fn finish(mut self) -> Vec<Group> {
        self.run();
        self.groups
    }

    /// Measures the group at hand before the next one is made, so that a subscriber of the one is not there in the other.
    fn run(&mut self) {
        let cases = std::mem::take(&mut self.cases);
        if !cases.is_empty() && self.title.contains(&self.filter) {
            self.groups.push(Group {
                title: std::mem::take(&mut self.title),
                cases: run(cases, &mut self.noise),
            });
        }
    }

    fn push(
        &mut self,
        label: Label,
        future: usize,
        mut batch: impl FnMut(u32) -> Duration + 'static,
    ) {
        let batch: Box<dyn FnMut(u32) -> Duration> = match self.subscriber.clone() {
            Some(subscriber) => Box::new(move |calls| with_default(&subscriber, || batch(calls))),
            None => Box::new(batch),
        };
        self.cases.push(Case {
            label,
            future,
            batch,
            calls: 1,
            runs: Vec::new(),
        });
    }
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench")
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

impl Visit for Bench {
    fn group(&mut self, title: String) {
        self.run();
        self.title = title;
        self.subscriber = None;
    }

    fn under(&mut self, subscriber: Dispatch) {
        self.subscriber = Some(subscriber);
    }

    fn plain<S>(&mut self, label: Label, mut service: S)
    where
        S: Service<u64, Response = u64> + 'static,
        S::Future: 'static,
    {
        let batch = move |calls| timed(calls, || call_plain(&mut service));
        self.push(label, size_of::<S::Future>(), batch);
    }

    fn http<S, B>(&mut self, label: Label, mut service: S)
    where
        S: Service<HttpRequest, Response = Response<B>> + 'static,
        S::Future: 'static,
        B: Body<Data = Bytes> + 'static,
    {
        let batch = move |calls| timed(calls, || call_http(&mut service));
        self.push(label, size_of::<S::Future>(), batch);
    }

    fn router(&mut self, label: Label, mut app: Router) {
        let future = size_of::<<Router as Service<axum::extract::Request>>::Future>();
        let batch = move |calls| timed(calls, || call_router(&mut app));
        self.push(label, future, batch);
    }

    fn keys<S>(&mut self, label: Label, keys: u64, mut service: S)
    where
        S: Service<u64, Response = u64> + 'static,
        S::Future: 'static,
    {
        let mut filled = false;
        let mut key = 0_u64;
        let batch = move |calls| {
            if !std::mem::replace(&mut filled, true) {
                (0..keys).for_each(|key| call_key(&mut service, key));
            }
            timed(calls, || {
                // A step of a linear congruential generator, of whose state the upper half is random enough.
                key = key.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                call_key(&mut service, (key >> 32) % keys);
            })
        };
        self.push(label, size_of::<S::Future>(), batch);
    }

    fn contended<S>(&mut self, label: Label, service: S)
    where
        S: Service<u64, Response = u64> + Clone + Send + 'static,
    {
        let batch = move |calls| timed_by_two(calls, &service);
        self.push(label, size_of::<S::Future>(), batch);
    }
}

#[inline]
fn timed(calls: u32, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        call();
    }
    start.elapsed()
}

/// Makes the calls in each of two threads at once, and returns the time from the first start to the last end.
fn timed_by_two<S>(calls: u32, service: &S) -> Duration
where
    S: Service<u64, Response = u64> + Clone + Send,
{
    let started = AtomicU32::new(0);
    let run = |mut service: S| {
        started.fetch_add(1, Ordering::AcqRel);
        // Spins, because to be woken takes as long as a batch.
        while started.load(Ordering::Acquire) < 2 {}
        let start = Instant::now();
        timed(calls, || call_plain(&mut service));
        (start, Instant::now())
    };
    let (this, that) = thread::scope(|threads| {
        let (here, there) = (service.clone(), service.clone());
        let other = threads.spawn(|| run(there));
        let this = run(here);
        (this, other.join().expect("a call does not panic"))
    });
    this.1.max(that.1) - this.0.min(that.0)
}

fn run(mut cases: Vec<Case>, noise: &mut NoiseDetector) -> Vec<Measured> {
    for case in &mut cases {
        case.calibrate();
    }
    for run in 0..RUNS {
        // Every run begins with another case, so that the order of the cases has no effect.
        let length = cases.len();
        for index in 0..length {
            cases[(index + run) % length].measure(noise);
        }
    }
    let runs = cases.into_iter().map(|case| Runs {
        label: case.label,
        future: case.future,
        nanos: case.runs,
    });
    compare(runs.collect())
}

impl Case {
    /// Finds the number of calls of a batch, and warms it up.
    fn calibrate(&mut self) {
        let (mut calls, mut spent) = (64, Duration::ZERO);
        while spent < BATCH / 2 {
            calls *= 2;
            spent = (self.batch)(calls);
        }
        let per_call = spent.as_secs_f64() / f64::from(calls);
        self.calls = (BATCH.as_secs_f64() / per_call) as u32;
    }

    /// Records the fastest of the undisturbed batches, or of all batches if there are none.
    fn measure(&mut self, noise: &mut NoiseDetector) {
        let (mut quiet, mut disturbed) = (Vec::new(), Vec::new());
        while quiet.len() < BATCHES && disturbed.len() < TRIES {
            let was_quiet = noise.is_quiet();
            let batch = (self.batch)(self.calls);
            let batches = if was_quiet && noise.is_quiet() {
                &mut quiet
            } else {
                &mut disturbed
            };
            batches.push(batch);
        }
        let fastest = quiet.iter().min().or(disturbed.iter().min());
        let fastest = fastest.expect("there is a batch");
        self.runs
            .push(fastest.as_secs_f64() * 1e9 / f64::from(self.calls));
    }
}
