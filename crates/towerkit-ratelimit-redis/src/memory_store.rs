//! A [`Store`] for tests with buckets in memory, whose arithmetic is independent of the rest of the crate.

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
    script_quota::ScriptQuota,
    store::{Grant, Store, StoreError},
};

#[derive(Debug, Clone)]
pub(crate) struct MemoryStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started_at: Instant,
    latency: Duration,
    reply: Mutex<Reply>,
    buckets: Mutex<HashMap<String, Bucket>>,
    requests: Mutex<Vec<(String, u32)>>,
    resets: AtomicUsize,
    held: Mutex<Vec<oneshot::Sender<Result<Grant, StoreError>>>>,
}

/// The replies of a [`MemoryStore`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reply {
    Grant,
    /// There is no reply.
    Never,
    /// The reply is given by [`release`](MemoryStore::release).
    Held,
    Fail(StoreError),
}

/// A bucket that fills by a whole number of units per nanosecond: a thousandth of a tick of the [`ScriptQuota`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    lack: i128,
    seen: i128,
    token: i128,
}

impl Bucket {
    pub(crate) fn take(&mut self, now: u128, quota: ScriptQuota, tokens: u32) -> Grant {
        let (now, token) = (now as i128, i128::from(quota.token) * 1000);
        let rate = i128::from(quota.rate);
        if self.token > 0 {
            self.lack = (self.lack * token + self.token - 1) / self.token;
        }
        self.token = token;
        self.lack = (self.lack - (now - self.seen) * rate).max(0);
        self.seen = now;
        let left = i128::from(quota.burst) * token - self.lack;
        let granted = (left / token).min(tokens.into());
        self.lack += granted * token;
        let missing = token - (left - granted * token);
        let wait = if missing > 0 {
            (missing + rate - 1) / rate
        } else {
            0
        };
        Grant {
            tokens: granted as u32,
            wait: Duration::from_nanos(wait as u64),
        }
    }
}

impl MemoryStore {
    pub(crate) fn new(latency: Duration) -> Self {
        Self(Arc::new(Inner {
            started_at: Instant::now(),
            latency,
            reply: Mutex::new(Reply::Grant),
            buckets: Mutex::default(),
            requests: Mutex::default(),
            resets: AtomicUsize::new(0),
            held: Mutex::default(),
        }))
    }

    pub(crate) fn set_reply(&self, reply: Reply) {
        *self.0.reply.lock().unwrap() = reply;
    }

    /// Replies to all requests that are held.
    pub(crate) fn release(&self, answer: Result<Grant, StoreError>) {
        for held in self.0.held.lock().unwrap().drain(..) {
            let _ = held.send(answer);
        }
    }

    /// Returns the requests since the last call: names and tokens.
    pub(crate) fn take_requests(&self) -> Vec<(String, u32)> {
        std::mem::take(&mut self.0.requests.lock().unwrap())
    }

    pub(crate) fn resets(&self) -> usize {
        self.0.resets.load(Ordering::SeqCst)
    }
}

impl Store for MemoryStore {
    fn take(
        &self,
        name: String,
        quota: ScriptQuota,
        tokens: u32,
    ) -> BoxFuture<'static, Result<Grant, StoreError>> {
        let inner = self.0.clone();
        async move {
            inner.requests.lock().unwrap().push((name.clone(), tokens));
            let reply = *inner.reply.lock().unwrap();
            match reply {
                Reply::Never => std::future::pending().await,
                Reply::Held => {
                    let (sender, receiver) = oneshot::channel();
                    inner.held.lock().unwrap().push(sender);
                    return receiver.await.expect("it is released");
                }
                Reply::Fail(error) => return Err(error),
                Reply::Grant => {}
            }
            let now = inner.started_at.elapsed().as_nanos();
            let grant = {
                let mut buckets = inner.buckets.lock().unwrap();
                buckets.entry(name).or_default().take(now, quota, tokens)
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
