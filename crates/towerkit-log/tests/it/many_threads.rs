//! Lines of many threads at once.

use std::{
    io::{BufRead, BufReader, pipe},
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::Duration,
};

use serde_json::Value;
use towerkit_log::{Background, Format, subscriber};
use tracing::{dispatcher::with_default, info};

use crate::page::written;

/// LG-07: each line of many threads is written complete, once, and in the order of its thread, or is counted.
fn many_threads(threads: usize, lines: u64, background: Background) {
    let (reader, writer) = pipe().unwrap();
    let subscriber = subscriber(Format::Json).writer(Arc::new(writer));
    let (subscriber, guard) = subscriber.background(background).unwrap();
    let dispatch = subscriber.dispatch();
    let read = thread::spawn(move || {
        let mut next = vec![0_u64; threads];
        let (mut written, mut told) = (0, 0);
        for line in BufReader::new(reader).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if let Some(dropped) = line["dropped"].as_u64() {
                told += dropped;
                continue;
            }
            let n = line["n"].as_u64().unwrap();
            let next = &mut next[line["thread"].as_u64().unwrap() as usize];
            assert!(n >= *next, "{line} comes twice or late");
            *next = n + 1;
            written += 1;
        }
        (written, told)
    });
    thread::scope(|scope| {
        for thread in 0..threads {
            let log = move || (0..lines).for_each(|n| info!(thread, n));
            let dispatch = &dispatch;
            scope.spawn(move || with_default(dispatch, log));
        }
    });
    assert!(guard.queue().flush(Duration::from_secs(300)));
    let queue = guard.queue().clone();
    drop((guard, dispatch));
    let (written, told) = read.join().unwrap();
    assert_eq!(written + told, threads as u64 * lines);
    assert_eq!(told, queue.dropped());
}

#[test]
fn lines_of_many_threads_arrive_whole_or_are_counted() {
    many_threads(64, 1000, Background::new());
    many_threads(
        8,
        2000,
        Background::new().bytes(NonZeroUsize::new(4096).unwrap()),
    );
}

/// LG-07
#[test]
#[ignore = "slow: 6.4 million lines"]
fn lines_of_64_threads_arrive_whole_or_are_counted() {
    many_threads(64, 100_000, Background::new());
}

/// LG-07, with fewer lines and without a thread in between.
#[test]
fn lines_of_many_threads_stay_whole() {
    const THREADS: u64 = 8;
    const LINES: u64 = 500;
    let text = written(Format::Json, false, || {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let log = |thread| with_default(&dispatch, || (0..LINES).for_each(|n| info!(thread, n)));
        thread::scope(|scope| {
            (0..THREADS).for_each(|thread| {
                scope.spawn(move || log(thread));
            });
        });
    });
    let mut seen: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| {
            (
                line["thread"].as_u64().unwrap(),
                line["n"].as_u64().unwrap(),
            )
        })
        .collect();
    seen.sort_unstable();
    let expected = (0..THREADS).flat_map(|thread| (0..LINES).map(move |n| (thread, n)));
    assert!(seen.into_iter().eq(expected));
}
