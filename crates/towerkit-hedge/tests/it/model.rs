//! A model of hedging, as a list of events with their times.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use towerkit_core::Deadline;
use towerkit_test::{run_paused, tokio_clock};

use crate::{
    backend::{Backend, MS, Reply, reply},
    call, get, layer, number,
};

/// The end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttemptEnd {
    Success,
    ClientError,
    Failure,
    PushedBack(u32),
    PushedBackForever,
}

/// The attempts, each with its duration in milliseconds.
type Script = Vec<(u32, AttemptEnd)>;

/// The end of a call, the attempt whose result it returned, and the times at which attempts were sent.
#[derive(Debug, PartialEq, Eq)]
struct CallRecord {
    ended_at: u32,
    winner: usize,
    sent: Vec<u32>,
}

const DELAY: u32 = 50;

/// Steps from event to event. Returns [`None`] if two events coincide, because their order is unspecified.
fn expected(script: &Script, hedges: usize, deadline: u32) -> Option<CallRecord> {
    let (mut sent, mut remaining) = (vec![0], hedges);
    let mut running = vec![(script[0].0, 0)];
    let mut due = Some(DELAY);
    loop {
        // The timer is not set for a time past the deadline.
        due = due.filter(|due| remaining > 0 && *due < deadline);
        remaining = if due.is_none() { 0 } else { remaining };
        let ends = running.iter().map(|(at, _)| *at).min()?;
        let now = due.map_or(ends, |due| due.min(ends));
        let times = running.iter().map(|(at, _)| *at).chain(due);
        if times.chain([deadline]).filter(|at| *at == now).count() > 1 {
            return None;
        }
        let mut sends = Some(now) == due;
        if now == ends {
            let at = running.iter().position(|(at, _)| *at == now)?;
            let (_, winner) = running.swap_remove(at);
            due = due.filter(|_| remaining > 0).map(|_| now + DELAY);
            match script[winner].1 {
                AttemptEnd::Success | AttemptEnd::ClientError => {
                    return Some(CallRecord {
                        ended_at: now,
                        winner,
                        sent,
                    });
                }
                AttemptEnd::Failure | AttemptEnd::PushedBack(0) => {
                    sends = remaining > 0 && now < deadline;
                }
                AttemptEnd::PushedBack(wait) => due = due.map(|_| now + wait),
                AttemptEnd::PushedBackForever => due = None,
            }
            if running.is_empty() && !sends {
                return Some(CallRecord {
                    ended_at: now,
                    winner,
                    sent,
                });
            }
        }
        if sends {
            running.push((now + script[sent.len()].0, sent.len()));
            sent.push(now);
            remaining -= 1;
            due = Some(now + DELAY);
        }
    }
}

fn replies(script: &Script) -> Vec<Reply> {
    let reply = |(after, ends): &(u32, AttemptEnd)| {
        let reply = |status| reply(*after * MS, status);
        let pushed_back =
            |wait: &'static str| reply(503).with_header("grpc-retry-pushback-ms", wait);
        match ends {
            AttemptEnd::Success => reply(200),
            AttemptEnd::ClientError => reply(404),
            AttemptEnd::Failure => reply(500),
            AttemptEnd::PushedBack(0) => pushed_back("0"),
            AttemptEnd::PushedBack(20) => pushed_back("20"),
            AttemptEnd::PushedBack(_) => pushed_back("130"),
            AttemptEnd::PushedBackForever => pushed_back("-1"),
        }
    };
    script.iter().map(reply).collect()
}

async fn seen(script: &Script, hedges: usize, deadline: u32) -> CallRecord {
    let backend = Backend::new(replies(script));
    let layer = layer().max_hedges(hedges as u8).unwrap();
    let mut request = get();
    let deadline = Deadline::after(&tokio_clock(), deadline * MS);
    request.extensions_mut().insert(deadline);
    let start = Instant::now();
    let response = call(&layer, &backend, request).await.unwrap();
    assert_eq!(backend.in_flight(), 0);
    let millis = |time: Duration| time.as_millis() as u32;
    CallRecord {
        ended_at: millis(start.elapsed()),
        winner: number(response).await,
        sent: backend.times().into_iter().map(millis).collect(),
    }
}

fn scripts() -> impl Strategy<Value = Script> {
    let ends = prop_oneof![
        3 => Just(AttemptEnd::Success),
        1 => Just(AttemptEnd::ClientError),
        4 => Just(AttemptEnd::Failure),
        1 => prop_oneof![Just(0), Just(20), Just(130)].prop_map(AttemptEnd::PushedBack),
        1 => Just(AttemptEnd::PushedBackForever),
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
