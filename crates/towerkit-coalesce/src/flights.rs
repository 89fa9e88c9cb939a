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
    CoalesceSnapshot,
    flight::{Flight, Landing, Seat},
    key::{AsHashed, Hashed},
    sync::{Arc as Counted, Mutex, lock},
};

/// What is shared of an answer. Its type is that of the service, which the layer does not know.
pub(crate) type Answer = Arc<dyn Any + Send + Sync>;

/// The calls in flight, by their key.
///
/// Of user code, only the comparison of two keys with one hash runs under a lock.
pub(crate) struct Flights<K> {
    hasher: RandomState,
    shards: [Mutex<Shard<K>>; SHARDS],
    led: AtomicU64,
    shared: AtomicU64,
}

/// One in loom's models, which have to run the same way every time.
const SHARDS: usize = if cfg!(towerkit_loom) { 1 } else { 16 };

type Shard<K> = HashSet<Listed<K>, AsHashed>;

/// A flight that can be joined.
struct Listed<K>(Counted<Open<K>>);

struct Open<K> {
    key: Hashed<K>,
    flight: Mutex<Flight<Answer, Waker>>,
}

impl<K> Borrow<Hashed<K>> for Listed<K> {
    fn borrow(&self) -> &Hashed<K> {
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

/// What becomes of a call.
pub(crate) enum Joined<K: Hash + Eq> {
    /// It is made, and others may wait for it.
    Lead(Lead<K>),
    /// It waits for one that is being made.
    Wait(Wait<K>),
}

impl<K: Hash + Eq> Flights<K> {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(Shard::default())),
            led: AtomicU64::new(0),
            shared: AtomicU64::new(0),
        }
    }

    /// Joins the flight with that key, or begins one.
    pub(crate) fn join(self: &Arc<Self>, key: K) -> Joined<K> {
        let hash = self.hasher.hash_one(&key);
        self.join_hashed(Hashed { hash, key })
    }

    fn join_hashed(self: &Arc<Self>, key: Hashed<K>) -> Joined<K> {
        let mut shard = lock(self.shard(key.hash));
        if let Some(Listed(open)) = shard.get(&key) {
            let open = open.clone();
            drop(shard);
            return Joined::Wait(Wait {
                flights: self.clone(),
                key: Some(key),
                open,
                seat: None,
            });
        }
        let open = Counted::new(Open {
            key,
            flight: Mutex::new(Flight::new()),
        });
        shard.insert(Listed(open.clone()));
        drop(shard);
        // Relaxed, as for all counters: they are for reading by people.
        self.led.fetch_add(1, Ordering::Relaxed);
        Joined::Lead(Lead {
            flights: self.clone(),
            open,
            is_listed: true,
        })
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard<K>> {
        // The set itself uses the lowest bits and the highest seven.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    /// Takes a flight off the list, so that nobody joins it any more.
    fn unlist(&self, open: &Open<K>) {
        let mut shard = lock(self.shard(open.key.hash));
        let listed = shard.take(&open.key);
        // A crowd that has gone leaves no large table behind.
        let table =
            (shard.is_empty() && shard.capacity() > 64).then(|| std::mem::take(&mut *shard));
        drop(shard);
        drop((listed, table));
    }

    pub(crate) fn snapshot(&self) -> CoalesceSnapshot {
        CoalesceSnapshot {
            in_flight: self.shards.iter().map(|shard| lock(shard).len()).sum(),
            led: self.led.load(Ordering::Relaxed),
            shared: self.shared.load(Ordering::Relaxed),
        }
    }
}

/// The call that others wait for. Dropping it leaves them to themselves.
pub(crate) struct Lead<K: Hash + Eq> {
    flights: Arc<Flights<K>>,
    open: Counted<Open<K>>,
    is_listed: bool,
}

impl<K: Hash + Eq> Lead<K> {
    /// Ends the flight. The answer is made if anybody waits for it.
    pub(crate) fn land(mut self, landing: impl FnOnce() -> Landing<Answer>) {
        self.unlist();
        // From here on nobody joins: this reference is the only one, unless somebody waits.
        if Counted::strong_count(&self.open) > 1 {
            let landing = landing();
            self.wake(landing);
        }
    }

    fn unlist(&mut self) {
        if std::mem::take(&mut self.is_listed) {
            self.flights.unlist(&self.open);
        }
    }

    fn wake(&self, landing: Landing<Answer>) {
        let woken = lock(&self.open.flight).land(landing);
        woken.for_each(Waker::wake);
    }
}

impl<K: Hash + Eq> Drop for Lead<K> {
    fn drop(&mut self) {
        self.unlist();
        self.wake(Landing::Failed);
    }
}

/// One who waits for the call of another.
pub(crate) struct Wait<K: Hash + Eq> {
    flights: Arc<Flights<K>>,
    key: Option<Hashed<K>>,
    open: Counted<Open<K>>,
    seat: Option<Seat>,
}

impl<K: Hash + Eq> Wait<K> {
    /// Waits for the end of the flight.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Landing<Answer>> {
        let mut flight = lock(&self.open.flight);
        if flight.is_open() && !self.is_woken_by(&flight, cx.waker()) {
            drop(flight);
            // Cloning a waker, and dropping one, is code of the executor: not under the lock.
            let waker = cx.waker().clone();
            flight = lock(&self.open.flight);
            if flight.is_open() {
                let old = flight.sit(&mut self.seat, waker);
                drop(flight);
                drop(old);
                return Poll::Pending;
            }
        }
        let landing = flight.landing();
        drop(flight);
        if matches!(landing, Some(Landing::Shared(_))) {
            self.flights.shared.fetch_add(1, Ordering::Relaxed);
        }
        landing.map_or(Poll::Pending, Poll::Ready)
    }

    fn is_woken_by(&self, flight: &Flight<Answer, Waker>, waker: &Waker) -> bool {
        let old = self.seat.as_ref().and_then(|seat| flight.waker(seat));
        old.is_some_and(|old| old.will_wake(waker))
    }

    /// Waits for the next flight, or leads it.
    pub(crate) fn rejoin(mut self) -> Joined<K> {
        let key = self.key.take().expect("there until it joins anew");
        self.flights.join_hashed(key)
    }
}

impl<K: Hash + Eq> Drop for Wait<K> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            let waker = lock(&self.open.flight).rise(seat);
            drop(waker);
        }
    }
}

impl<K: Hash + Eq> fmt::Debug for Flights<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}
