//! A store for tests: buckets in memory, by arithmetic that the rest of the crate does not use.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use crate::{
    measure::Measure,
    store::{Failure, Grant, Store},
};

#[derive(Debug, Clone)]
pub(crate) struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    born: Instant,
    latency: Duration,
    mood: Mutex<Mood>,
    buckets: Mutex<HashMap<String, Bucket>>,
    asked: Mutex<Vec<(String, u32)>>,
    resets: AtomicUsize,
    held: Mutex<Vec<oneshot::Sender<Result<Grant, Failure>>>>,
}

/// How the store answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Well,
    Silent,
    /// Answers once the test says what.
    Held,
    Failing(Failure),
}

/// The tokens that a bucket lacks, in tokens times `flow` times a thousand: what flows in within a nanosecond is a whole number.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    lack: i128,
    seen: i128,
    token: i128,
}

impl Bucket {
    pub(crate) fn take(&mut self, now: u128, measure: Measure, tokens: u32) -> Grant {
        let (now, token) = (now as i128, i128::from(measure.token) * 1000);
        let flow = i128::from(measure.flow);
        if self.token > 0 {
            self.lack = (self.lack * token + self.token - 1) / self.token;
        }
        self.token = token;
        self.lack = (self.lack - (now - self.seen) * flow).max(0);
        self.seen = now;
        let room = i128::from(measure.burst) * token - self.lack;
        let granted = (room / token).min(tokens.into());
        self.lack += granted * token;
        let missing = token - (room - granted * token);
        let wait = if missing > 0 {
            (missing + flow - 1) / flow
        } else {
            0
        };
        Grant {
            tokens: granted as u32,
            wait: Duration::from_nanos(wait as u64),
        }
    }
}

impl Memory {
    pub(crate) fn new(latency: Duration) -> Self {
        Self(Arc::new(Inner {
            born: Instant::now(),
            latency,
            mood: Mutex::new(Mood::Well),
            buckets: Mutex::default(),
            asked: Mutex::default(),
            resets: AtomicUsize::new(0),
            held: Mutex::default(),
        }))
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.0.mood.lock().unwrap() = mood;
    }

    /// Answers all requests that are held.
    pub(crate) fn release(&self, answer: Result<Grant, Failure>) {
        for held in self.0.held.lock().unwrap().drain(..) {
            let _ = held.send(answer);
        }
    }

    /// What was asked for since the last time.
    pub(crate) fn asked(&self) -> Vec<(String, u32)> {
        std::mem::take(&mut self.0.asked.lock().unwrap())
    }

    pub(crate) fn resets(&self) -> usize {
        self.0.resets.load(Ordering::SeqCst)
    }
}

impl Store for Memory {
    fn take(
        &self,
        key: String,
        measure: Measure,
        tokens: u32,
    ) -> BoxFuture<'static, Result<Grant, Failure>> {
        let inner = self.0.clone();
        async move {
            inner.asked.lock().unwrap().push((key.clone(), tokens));
            let mood = *inner.mood.lock().unwrap();
            match mood {
                Mood::Silent => std::future::pending().await,
                Mood::Held => {
                    let (sender, receiver) = oneshot::channel();
                    inner.held.lock().unwrap().push(sender);
                    return receiver.await.expect("it is released");
                }
                Mood::Failing(failure) => return Err(failure),
                Mood::Well => {}
            }
            let now = inner.born.elapsed().as_nanos();
            let grant = {
                let mut buckets = inner.buckets.lock().unwrap();
                buckets.entry(key).or_default().take(now, measure, tokens)
            };
            if !inner.latency.is_zero() {
                sleep(inner.latency).await;
            }
            Ok(grant)
        }
        .boxed()
    }

    fn reset(&self) {
        self.0.resets.fetch_add(1, Ordering::SeqCst);
    }
}
