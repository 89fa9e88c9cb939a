use std::mem;

use crate::{
    classes::{ClassIndex, Priority},
    queue::Queue,
};

/// The calls that wait for a permit, in one list for each partition and [`Priority`].
///
/// A pure data structure: the time is an argument, and `W` is the type of a waker. A call owns its [`Waiter`] from
/// [`push`](Self::push) to [`remove`](Self::remove), even after it was [resolved](Self::resolve) and left its list. Every operation
/// takes constant time, except for the iteration over the classes.
pub(crate) struct WaitQueue<P, W> {
    options: Queue,
    waiters: Vec<Waiter<P, W>>,
    /// The first unused element of `waiters`, linked by `next`.
    free: Option<WaiterKey>,
    lists: Box<[ClassList]>,
    len: u32,
    nonempty_since: u64,
    /// The partition that is served next.
    next_partition: usize,
}

/// The position of a [`Waiter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaiterKey(u32);

/// The reason for which a waiting call is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitError {
    /// It waited too long.
    Expired,
    /// The queue was full, and another call took its place.
    Evicted,
}

pub(crate) struct Waiter<P, W> {
    state: WaiterState<P>,
    waker: Option<W>,
    expires: u64,
    previous: Option<WaiterKey>,
    next: Option<WaiterKey>,
}

enum WaiterState<P> {
    Free,
    Waiting(ClassIndex),
    Resolved(Result<P, WaitError>),
}

/// The waiting calls of one class, as a linked list.
#[derive(Default)]
struct ClassList {
    oldest: Option<WaiterKey>,
    newest: Option<WaiterKey>,
    len: u32,
}

/// A call that was added to the queue, and the waker of the call that it evicted.
pub(crate) struct Pushed<W> {
    pub(crate) key: WaiterKey,
    pub(crate) expires: u64,
    pub(crate) evicted: Option<W>,
}

impl<P, W> WaitQueue<P, W> {
    /// Creates an empty queue for calls of `partitions` partitions, where calls outside of all partitions count as one.
    pub(crate) fn new(options: Queue, partitions: usize) -> Self {
        let lists = partitions * Priority::ALL.len();
        Self {
            options,
            waiters: Vec::new(),
            free: None,
            lists: (0..lists).map(|_| ClassList::default()).collect(),
            len: 0,
            nonempty_since: 0,
            next_partition: 0,
        }
    }

    /// Returns the number of waiting calls.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Adds a call that waits for at most `max_wait`, or returns [`None`] if the queue is full.
    pub(crate) fn push(&mut self, class: ClassIndex, max_wait: u64, now: u64) -> Option<Pushed<W>> {
        let max_wait = max_wait.min(self.max_wait(now));
        if self.len == 0 {
            self.nonempty_since = now;
        }
        let evicted = if self.partition_len(class.partition) < self.options.size {
            None
        } else {
            let victim = self.victim(class, now)?;
            self.resolve(victim, Err(WaitError::Evicted))
        };
        let expires = now.saturating_add(max_wait);
        let key = self.insert(class, expires);
        self.append(key, class);
        Some(Pushed {
            key,
            expires,
            evicted,
        })
    }

    /// Returns the class to serve after `tried` others: by priority, and within a priority the partitions in turn.
    pub(crate) fn next_class(&self, tried: usize) -> Option<ClassIndex> {
        let partitions = self.lists.len() / Priority::ALL.len();
        let priority = *Priority::ALL.get(tried / partitions)?;
        Some(ClassIndex {
            partition: (self.next_partition + tried) % partitions,
            priority,
        })
    }

    /// Returns the call of a class that is served next.
    pub(crate) fn front(&self, class: ClassIndex, now: u64) -> Option<WaiterKey> {
        self.end(class, self.is_newest_first(now))
    }

    /// Returns true if a call has waited too long to be admitted.
    pub(crate) fn is_expired(&self, key: WaiterKey, now: u64) -> bool {
        now >= self[key].expires
    }

    /// Removes a call from its list, stores its result, and returns its waker.
    pub(crate) fn resolve(&mut self, key: WaiterKey, result: Result<P, WaitError>) -> Option<W> {
        if result.is_ok()
            && let WaiterState::Waiting(class) = self[key].state
        {
            self.next_partition = class.partition + 1;
        }
        self.unlink(key);
        let waiter = &mut self[key];
        waiter.state = WaiterState::Resolved(result);
        waiter.waker.take()
    }

    /// Returns true if a call has a result.
    pub(crate) fn is_resolved(&self, key: WaiterKey) -> bool {
        matches!(self[key].state, WaiterState::Resolved(_))
    }

    /// Stores the waker of a call, and returns the previous one.
    pub(crate) fn set_waker(&mut self, key: WaiterKey, waker: W) -> Option<W> {
        self[key].waker.replace(waker)
    }

    /// Frees the [`Waiter`] of a call, waiting or resolved, and returns its result and its waker.
    pub(crate) fn remove(&mut self, key: WaiterKey) -> (Option<Result<P, WaitError>>, Option<W>) {
        self.unlink(key);
        let free = self.free.replace(key);
        let waiter = &mut self[key];
        waiter.next = free;
        let result = match mem::replace(&mut waiter.state, WaiterState::Free) {
            WaiterState::Resolved(result) => Some(result),
            _ => None,
        };
        (result, waiter.waker.take())
    }

    /// Returns the longest wait of a call that arrives now.
    fn max_wait(&self, now: u64) -> u64 {
        match self.options.overload {
            Some(overload) if self.was_nonempty_for(overload.after, now) => overload.max_wait,
            _ => self.options.max_wait,
        }
    }

    fn is_newest_first(&self, now: u64) -> bool {
        let after = self.options.newest_first_after;
        after.is_some_and(|after| self.was_nonempty_for(after, now))
    }

    fn was_nonempty_for(&self, time: u64, now: u64) -> bool {
        self.len > 0 && now.saturating_sub(self.nonempty_since) >= time
    }

    fn partition_len(&self, partition: usize) -> u32 {
        let len = |priority| {
            let class = ClassIndex {
                partition,
                priority,
            };
            self.lists[class.position()].len
        };
        Priority::ALL.into_iter().map(len).sum()
    }

    /// Returns the call to evict in favour of a call of `class`: the last in the order of service.
    ///
    /// That is a call of lower priority, or, in a queue that serves the newest first, the oldest call of the same priority.
    fn victim(&self, class: ClassIndex, now: u64) -> Option<WaiterKey> {
        let newest_first = self.is_newest_first(now);
        let lower = (Priority::ALL.into_iter().rev())
            .take_while(|priority| *priority > class.priority)
            .find_map(|priority| self.end(ClassIndex { priority, ..class }, !newest_first));
        let same = || self.end(class, false).filter(|_| newest_first);
        lower.or_else(same)
    }

    /// Returns the newest or the oldest call of a class.
    fn end(&self, class: ClassIndex, newest: bool) -> Option<WaiterKey> {
        let list = &self.lists[class.position()];
        if newest { list.newest } else { list.oldest }
    }

    /// Stores a call in an unused element, or in a new one.
    fn insert(&mut self, class: ClassIndex, expires: u64) -> WaiterKey {
        let waiter = Waiter {
            state: WaiterState::Waiting(class),
            waker: None,
            expires,
            previous: None,
            next: None,
        };
        match self.free {
            Some(key) => {
                self.free = self[key].next;
                self[key] = waiter;
                key
            }
            None => {
                self.waiters.push(waiter);
                WaiterKey(self.waiters.len() as u32 - 1)
            }
        }
    }

    fn append(&mut self, key: WaiterKey, class: ClassIndex) {
        let position = class.position();
        let newest = self.lists[position].newest.replace(key);
        self[key].previous = newest;
        match newest {
            Some(newest) => self[newest].next = Some(key),
            None => self.lists[position].oldest = Some(key),
        }
        self.lists[position].len += 1;
        self.len += 1;
    }

    fn unlink(&mut self, key: WaiterKey) {
        let WaiterState::Waiting(class) = self[key].state else {
            return;
        };
        let (previous, next) = (self[key].previous, self[key].next);
        let position = class.position();
        match previous {
            Some(previous) => self[previous].next = next,
            None => self.lists[position].oldest = next,
        }
        match next {
            Some(next) => self[next].previous = previous,
            None => self.lists[position].newest = previous,
        }
        self.lists[position].len -= 1;
        self.len -= 1;
    }
}

impl<P, W> std::ops::Index<WaiterKey> for WaitQueue<P, W> {
    type Output = Waiter<P, W>;

    fn index(&self, key: WaiterKey) -> &Waiter<P, W> {
        &self.waiters[key.0 as usize]
    }
}

impl<P, W> std::ops::IndexMut<WaiterKey> for WaitQueue<P, W> {
    fn index_mut(&mut self, key: WaiterKey) -> &mut Waiter<P, W> {
        &mut self.waiters[key.0 as usize]
    }
}
