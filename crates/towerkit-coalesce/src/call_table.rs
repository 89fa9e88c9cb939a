use std::{
    any::Any,
    borrow::Borrow,
    collections::HashSet,
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use crate::{
    key::{HashedKey, PassThrough},
    shared_call::{CallResult, SharedCall, WaiterId},
    sync::{Arc as Counted, Mutex, lock},
};

/// A shared response. Its type depends on the service, which the layer does not know.
pub(crate) type AnyResponse = Arc<dyn Any + Send + Sync>;

/// The figures of a [`CoalesceLayer`](crate::CoalesceLayer) at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoalesceSnapshot {
    /// The calls in flight for which others can wait.
    pub in_flight: usize,
    /// The calls of the inner service so far, without those that have no key.
    pub calls: u64,
    /// The callers that got the response to another's call.
    pub shared: u64,
}

/// The shared calls in flight, by key.
///
/// The only user code that runs under a lock is the comparison of two keys with equal hashes.
pub(crate) struct CallTable<K> {
    hasher: RandomState,
    shards: [Mutex<Shard<K>>; SHARDS],
    calls_made: AtomicU64,
    shared: AtomicU64,
}

/// One shard in loom models, because they must be deterministic.
const SHARDS: usize = if cfg!(towerkit_loom) { 1 } else { 16 };

type Shard<K> = HashSet<Listed<K>, PassThrough>;

/// An entry of the table: a call that others can join.
struct Listed<K>(Counted<Entry<K>>);

struct Entry<K> {
    key: HashedKey<K>,
    call: Mutex<SharedCall<AnyResponse, Waker>>,
}

impl<K> Borrow<HashedKey<K>> for Listed<K> {
    fn borrow(&self) -> &HashedKey<K> {
        &self.0.key
    }
}

impl<K> Hash for Listed<K> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.key.hash(hasher);
    }
}

impl<K: Eq> PartialEq for Listed<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl<K: Eq> Eq for Listed<K> {}

/// The role of a call.
pub(crate) enum Joined<K: Hash + Eq> {
    /// It calls the inner service, and others may wait for it.
    Leader(Leader<K>),
    /// It waits for a leader.
    Follower(Follower<K>),
}

impl<K: Hash + Eq> CallTable<K> {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(Shard::default())),
            calls_made: AtomicU64::new(0),
            shared: AtomicU64::new(0),
        }
    }

    /// Joins the call with this key, or begins one.
    pub(crate) fn join(self: &Arc<Self>, key: K) -> Joined<K> {
        let hash = self.hasher.hash_one(&key);
        self.join_hashed(HashedKey { hash, key })
    }

    fn join_hashed(self: &Arc<Self>, key: HashedKey<K>) -> Joined<K> {
        let mut shard = lock(self.shard(key.hash));
        if let Some(Listed(entry)) = shard.get(&key) {
            let entry = entry.clone();
            drop(shard);
            return Joined::Follower(Follower {
                calls: self.clone(),
                key: Some(key),
                entry,
                waiter: None,
            });
        }
        let entry = Counted::new(Entry {
            key,
            call: Mutex::new(SharedCall::new()),
        });
        shard.insert(Listed(entry.clone()));
        drop(shard);
        // Relaxed, like all counters: they order no other data.
        self.calls_made.fetch_add(1, Ordering::Relaxed);
        Joined::Leader(Leader {
            calls: self.clone(),
            entry,
            is_listed: true,
        })
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard<K>> {
        // The hash set itself uses the lowest bits and the highest seven.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    /// Removes a call, so that no further caller joins it.
    fn remove(&self, entry: &Entry<K>) {
        let mut shard = lock(self.shard(entry.key.hash));
        let listed = shard.take(&entry.key);
        // Frees a table that a burst of keys has made large.
        let table =
            (shard.is_empty() && shard.capacity() > 64).then(|| std::mem::take(&mut *shard));
        drop(shard);
        drop((listed, table));
    }

    pub(crate) fn snapshot(&self) -> CoalesceSnapshot {
        CoalesceSnapshot {
            in_flight: self.shards.iter().map(|shard| lock(shard).len()).sum(),
            calls: self.calls_made.load(Ordering::Relaxed),
            shared: self.shared.load(Ordering::Relaxed),
        }
    }
}

/// A call for which others may wait. Dropping it ends the call as failed.
pub(crate) struct Leader<K: Hash + Eq> {
    calls: Arc<CallTable<K>>,
    entry: Counted<Entry<K>>,
    is_listed: bool,
}

impl<K: Hash + Eq> Leader<K> {
    /// Ends the call. `outcome` runs only if the call has followers.
    pub(crate) fn complete(mut self, outcome: impl FnOnce() -> CallResult<AnyResponse>) {
        self.remove();
        // No caller can join any more: with a single reference there is no follower.
        if Counted::strong_count(&self.entry) > 1 {
            let outcome = outcome();
            self.wake(outcome);
        }
    }

    fn remove(&mut self) {
        if std::mem::take(&mut self.is_listed) {
            self.calls.remove(&self.entry);
        }
    }

    fn wake(&self, outcome: CallResult<AnyResponse>) {
        let woken = lock(&self.entry.call).complete(outcome);
        woken.for_each(Waker::wake);
    }
}

impl<K: Hash + Eq> Drop for Leader<K> {
    fn drop(&mut self) {
        self.remove();
        self.wake(CallResult::Failed);
    }
}

/// A call that waits for a leader.
pub(crate) struct Follower<K: Hash + Eq> {
    calls: Arc<CallTable<K>>,
    key: Option<HashedKey<K>>,
    entry: Counted<Entry<K>>,
    waiter: Option<WaiterId>,
}

impl<K: Hash + Eq> Follower<K> {
    /// Waits for the result of the leader's call.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<CallResult<AnyResponse>> {
        let mut call = lock(&self.entry.call);
        if call.is_open() && !self.has_waker(&call, cx.waker()) {
            drop(call);
            // Cloning and dropping a waker runs code of the executor, so release the lock.
            let waker = cx.waker().clone();
            call = lock(&self.entry.call);
            if call.is_open() {
                let old = call.register(&mut self.waiter, waker);
                drop(call);
                drop(old);
                return Poll::Pending;
            }
        }
        let outcome = call.outcome();
        drop(call);
        if matches!(outcome, Some(CallResult::Shared(_))) {
            self.calls.shared.fetch_add(1, Ordering::Relaxed);
        }
        outcome.map_or(Poll::Pending, Poll::Ready)
    }

    fn has_waker(&self, call: &SharedCall<AnyResponse, Waker>, waker: &Waker) -> bool {
        let old = self.waiter.as_ref().and_then(|waiter| call.waker(waiter));
        old.is_some_and(|old| old.will_wake(waker))
    }

    /// Follows the next leader, or becomes it.
    pub(crate) fn rejoin(mut self) -> Joined<K> {
        let key = self.key.take().expect("taken by `rejoin` only");
        self.calls.join_hashed(key)
    }
}

impl<K: Hash + Eq> Drop for Follower<K> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            let waker = lock(&self.entry.call).unregister(waiter);
            drop(waker);
        }
    }
}

impl<K: Hash + Eq> fmt::Debug for CallTable<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}
