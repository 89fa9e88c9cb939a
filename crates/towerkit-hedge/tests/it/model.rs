//! The race against a model: a list of what happens when.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use towerkit_core::Deadline;
use towerkit_test::{run_paused, tokio_clock};

use crate::{
    backend::{Backend, MS, Reply, reply},
    call, get, layer, number,
};

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Success,
    ClientError,
    Failure,
    PushedBack(u32),
    PushedBackForGood,
}

/// After so many milliseconds.
type Script = Vec<(u32, Ends)>;

/// What is to be seen: when the call ends, by which attempt, and when attempts were sent.
#[derive(Debug, PartialEq, Eq)]
struct Course {
    at: u32,
    by: usize,
    sent: Vec<u32>,
}

const DELAY: u32 = 50;

/// Goes through time from one thing that happens to the next. `None` if two happen at once, whose order is nobody's business.
fn expected(script: &Script, hedges: usize, deadline: u32) -> Option<Course> {
    let (mut sent, mut left) = (vec![0], hedges);
    let mut running = vec![(script[0].0, 0)];
    let mut due = Some(DELAY);
    loop {
        // The timer is not set for a time past the deadline.
        due = due.filter(|due| left > 0 && *due < deadline);
        left = if due.is_none() { 0 } else { left };
        let ends = running.iter().map(|(at, _)| *at).min()?;
        let now = due.map_or(ends, |due| due.min(ends));
        let times = running.iter().map(|(at, _)| *at).chain(due);
        if times.chain([deadline]).filter(|at| *at == now).count() > 1 {
            return None;
        }
        let mut sends = Some(now) == due;
        if now == ends {
            let at = running.iter().position(|(at, _)| *at == now)?;
            let (_, by) = running.swap_remove(at);
            due = due.filter(|_| left > 0).map(|_| now + DELAY);
            match script[by].1 {
                Ends::Success | Ends::ClientError => return Some(Course { at: now, by, sent }),
                Ends::Failure | Ends::PushedBack(0) => sends = left > 0 && now < deadline,
                Ends::PushedBack(wait) => due = due.map(|_| now + wait),
                Ends::PushedBackForGood => due = None,
            }
            if running.is_empty() && !sends {
                return Some(Course { at: now, by, sent });
            }
        }
        if sends {
            running.push((now + script[sent.len()].0, sent.len()));
            sent.push(now);
            left -= 1;
            due = Some(now + DELAY);
        }
    }
}

fn replies(script: &Script) -> Vec<Reply> {
    let reply = |(after, ends): &(u32, Ends)| {
        let reply = |status| reply(*after * MS, status);
        let pushed_back =
            |wait: &'static str| reply(503).with_field("grpc-retry-pushback-ms", wait);
        match ends {
            Ends::Success => reply(200),
            Ends::ClientError => reply(404),
            Ends::Failure => reply(500),
            Ends::PushedBack(0) => pushed_back("0"),
            Ends::PushedBack(20) => pushed_back("20"),
            Ends::PushedBack(_) => pushed_back("130"),
            Ends::PushedBackForGood => pushed_back("-1"),
        }
    };
    script.iter().map(reply).collect()
}

async fn seen(script: &Script, hedges: usize, deadline: u32) -> Course {
    let backend = Backend::new(replies(script));
    let layer = layer().max_hedges(hedges as u8).unwrap();
    let mut request = get();
    let deadline = Deadline::after(&tokio_clock(), deadline * MS);
    request.extensions_mut().insert(deadline);
    let start = Instant::now();
    let response = call(&layer, &backend, request).await.unwrap();
    assert_eq!(backend.in_flight(), 0);
    let millis = |time: Duration| time.as_millis() as u32;
    Course {
        at: millis(start.elapsed()),
        by: number(response).await,
        sent: backend.times().into_iter().map(millis).collect(),
    }
}

fn scripts() -> impl Strategy<Value = Script> {
    let ends = prop_oneof![
        3 => Just(Ends::Success),
        1 => Just(Ends::ClientError),
        4 => Just(Ends::Failure),
        1 => prop_oneof![Just(0), Just(20), Just(130)].prop_map(Ends::PushedBack),
        1 => Just(Ends::PushedBackForGood),
    ];
    prop::collection::vec((1..300u32, ends), 5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// HG-01, HG-05
    #[test]
    fn a_race_agrees_with_the_model(
        script in scripts(),
        hedges in 1..=4usize,
        deadline in prop_oneof![10..400u32, Just(1_000_000)],
    ) {
        if let Some(expected) = expected(&script, hedges, deadline) {
            prop_assert_eq!(run_paused(seen(&script, hedges, deadline)), expected);
        }
    }
}
