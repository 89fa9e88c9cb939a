use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tower::Service;

use crate::HttpRequest;
use crate::Kind;
use crate::Label;
use crate::Visit;
use crate::call_http;
use crate::call_plain;

/// How often a group is measured: more than the nine interleaved runs that a ratio needs.
const RUNS: usize = 31;
/// How long one batch takes, about.
const BATCH: Duration = Duration::from_micros(500);
/// Of so many batches in a run the fastest counts, so that a thread that is taken off its core spoils none.
const BATCHES: usize = 3;

/// A group of cases that were measured together.
#[derive(Debug)]
pub struct Group {
    /// What they have in common.
    pub title: String,
    /// The cases, in the order of the catalogue.
    pub cases: Vec<Measured>,
}

/// What was measured of a case.
#[derive(Debug)]
pub struct Measured {
    /// The case.
    pub label: Label,
    /// Nanoseconds of a call; but for the inner service, over the inner service: the median of the runs.
    pub nanos: f64,
    /// The size of its response future, in bytes.
    pub future: usize,
    /// Nanoseconds over those of the fastest comparable peer: the median of the runs' ratios.
    pub ratio: Option<f64>,
}

/// Collects the cases of the catalogue, to [run](Self::run) them.
#[derive(Default)]
pub struct Bench {
    groups: Vec<(String, Vec<Case>)>,
}

struct Case {
    label: Label,
    future: usize,
    batch: Box<dyn FnMut(u32) -> Duration>,
    calls: u32,
    runs: Vec<f64>,
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let titles = self.groups.iter().map(|(title, _)| title);
        f.debug_list().entries(titles).finish()
    }
}

impl Visit for Bench {
    fn group(&mut self, title: String) {
        self.groups.push((title, Vec::new()));
    }

    fn plain<S>(&mut self, label: Label, mut service: S)
    where
        S: Service<u64, Response = u64> + 'static,
        S::Future: 'static,
    {
        let batch = move |calls| timed(calls, || call_plain(&mut service));
        self.push(label, size_of::<S::Future>(), Box::new(batch));
    }

    fn http<S, B>(&mut self, label: Label, mut service: S)
    where
        S: Service<HttpRequest, Response = Response<B>> + 'static,
        S::Future: 'static,
        B: Body<Data = Bytes> + 'static,
    {
        let batch = move |calls| timed(calls, || call_http(&mut service));
        self.push(label, size_of::<S::Future>(), Box::new(batch));
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

impl Bench {
    fn push(&mut self, label: Label, future: usize, batch: Box<dyn FnMut(u32) -> Duration>) {
        let group = self.groups.last_mut().expect("a case belongs to a group");
        group.1.push(Case {
            label,
            future,
            batch,
            calls: 1,
            runs: Vec::new(),
        });
    }

    /// Measures the groups whose title contains `filter`, one after the other, each in interleaved runs.
    #[must_use]
    pub fn run(self, filter: &str) -> Vec<Group> {
        self.groups
            .into_iter()
            .filter(|(title, _)| title.contains(filter))
            .map(|(title, cases)| Group {
                title,
                cases: run_group(cases),
            })
            .collect()
    }
}

fn run_group(mut cases: Vec<Case>) -> Vec<Measured> {
    for case in &mut cases {
        case.calibrate();
    }
    for run in 0..RUNS {
        // Every run begins elsewhere, so that nobody always comes after the same neighbour.
        let length = cases.len();
        for place in 0..length {
            cases[(place + run) % length].measure();
        }
    }
    subtract_bare(&mut cases);
    cases.iter().map(|case| case.result(&cases)).collect()
}

/// Takes the inner service's time off every other case, run by run.
fn subtract_bare(cases: &mut [Case]) {
    let Some(bare) = cases.iter().find(|case| case.label.kind == Kind::Bare) else {
        return;
    };
    let bare = bare.runs.clone();
    for case in cases
        .iter_mut()
        .filter(|case| case.label.kind != Kind::Bare)
    {
        for (nanos, bare) in case.runs.iter_mut().zip(&bare) {
            *nanos -= bare;
        }
    }
}

impl Case {
    /// Finds how many calls fill a batch, which also warms it up.
    fn calibrate(&mut self) {
        let (mut calls, mut spent) = (64, Duration::ZERO);
        while spent < BATCH / 2 {
            calls *= 2;
            spent = (self.batch)(calls);
        }
        let per_call = spent.as_secs_f64() / f64::from(calls);
        self.calls = (BATCH.as_secs_f64() / per_call) as u32;
    }

    fn measure(&mut self) {
        let fastest = (0..BATCHES).map(|_| (self.batch)(self.calls)).min();
        let fastest = fastest.expect("there is a batch");
        self.runs
            .push(fastest.as_secs_f64() * 1e9 / f64::from(self.calls));
    }

    fn nanos(&self) -> f64 {
        median(self.runs.clone())
    }

    fn result(&self, group: &[Self]) -> Measured {
        Measured {
            label: self.label,
            nanos: self.nanos(),
            future: self.future,
            ratio: self.ratio(group),
        }
    }

    fn ratio(&self, group: &[Self]) -> Option<f64> {
        if self.label.kind != Kind::Ours {
            return None;
        }
        let best = group
            .iter()
            .filter(|case| case.label.kind == Kind::Peer)
            .filter(|case| self.label.clock.comparable(case.label.clock))
            .min_by(|a, b| a.nanos().total_cmp(&b.nanos()))?;
        let ratios = self
            .runs
            .iter()
            .zip(&best.runs)
            .map(|(ours, best)| ours / best);
        Some(median(ratios.collect()))
    }
}

/// Returns the median.
///
/// # Panics
///
/// If there is nothing to take it of.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
