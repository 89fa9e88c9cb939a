use std::mem;

use crate::{class::Priority, queue::Queue};

/// The calls that wait, in lanes: one for each partition and priority.
///
/// Pure data: the time is an argument, and `W` is whatever wakes a call. A call owns its entry from [`join`](Self::join) to
/// [`leave`](Self::leave), also after it was [settled](Self::settle) and stands in no lane any more. All steps take constant time, but
/// for the choice of a lane.
pub(crate) struct Line<P, W> {
    queue: Queue,
    entries: Vec<Entry<P, W>>,
    free: Option<Key>,
    lanes: Box<[Lane]>,
    waiting: u32,
    /// Since when it has not been empty.
    standing_since: u64,
    /// The partition whose turn it is.
    turn: usize,
}

/// The entry of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u32);

/// Why a call waits no longer without having been admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It was too old.
    TooOld,
    /// It made room for another.
    Away,
}

pub(crate) struct Entry<P, W> {
    place: Place<P>,
    waker: Option<W>,
    expires: u64,
    before: Option<Key>,
    behind: Option<Key>,
}

enum Place<P> {
    Free,
    Waits(LaneNumber),
    Settled(Result<P, Turned>),
}

#[derive(Default)]
struct Lane {
    oldest: Option<Key>,
    newest: Option<Key>,
    len: u32,
}

/// A lane, by the partition and the priority of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneNumber {
    pub(crate) partition: usize,
    pub(crate) priority: Priority,
}

impl LaneNumber {
    /// The only lane there is where all calls are alike.
    pub(crate) const ALIKE: Self = Self {
        partition: 0,
        priority: Priority::Critical,
    };

    fn index(self) -> usize {
        self.partition * Priority::ALL.len() + self.priority as usize
    }
}

/// A call that has joined, and the one that had to make room for it.
pub(crate) struct Joined<W> {
    pub(crate) key: Key,
    pub(crate) expires: u64,
    pub(crate) turned_away: Option<W>,
}

impl<P, W> Line<P, W> {
    pub(crate) fn new(queue: Queue, partitions: usize) -> Self {
        let lanes = partitions * Priority::ALL.len();
        Self {
            queue,
            entries: Vec::new(),
            free: None,
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            waiting: 0,
            standing_since: 0,
            turn: 0,
        }
    }

    /// Returns how many wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Lets a call wait for `patience` at most, or returns `None` if there is no place for it.
    pub(crate) fn join(&mut self, lane: LaneNumber, patience: u64, now: u64) -> Option<Joined<W>> {
        let age = self.age(now);
        if self.waiting == 0 {
            self.standing_since = now;
        }
        let turned_away = if self.len(lane.partition) < self.queue.size {
            None
        } else {
            let victim = self.victim(lane, now)?;
            self.settle(victim, Err(Turned::Away))
        };
        let expires = now.saturating_add(age.min(patience));
        let key = self.entry(lane, expires);
        self.append(key, lane);
        Some(Joined {
            key,
            expires,
            turned_away,
        })
    }

    /// Returns the next lane to be served, after `tried` of them were to no avail: by priority, and partitions in turn.
    pub(crate) fn candidate(&self, tried: usize) -> Option<LaneNumber> {
        let partitions = self.lanes.len() / Priority::ALL.len();
        let priority = *Priority::ALL.get(tried / partitions)?;
        Some(LaneNumber {
            partition: (self.turn + tried) % partitions,
            priority,
        })
    }

    /// Returns the call of a lane that is next.
    pub(crate) fn next(&self, lane: LaneNumber, now: u64) -> Option<Key> {
        self.end(lane, self.is_newest_first(now))
    }

    /// Whether a call is too old to be admitted.
    pub(crate) fn is_too_old(&self, key: Key, now: u64) -> bool {
        now >= self[key].expires
    }

    /// Takes a call out of its lane, says what became of it, and returns what wakes it.
    pub(crate) fn settle(&mut self, key: Key, result: Result<P, Turned>) -> Option<W> {
        if result.is_ok()
            && let Place::Waits(lane) = self[key].place
        {
            self.turn = lane.partition + 1;
        }
        self.unlink(key);
        let entry = &mut self[key];
        entry.place = Place::Settled(result);
        entry.waker.take()
    }

    /// Whether something became of a call.
    pub(crate) fn is_settled(&self, key: Key) -> bool {
        matches!(self[key].place, Place::Settled(_))
    }

    /// Takes note of what wakes a call, and returns what did so before.
    pub(crate) fn wake_by(&mut self, key: Key, waker: W) -> Option<W> {
        self[key].waker.replace(waker)
    }

    /// Frees the entry of a call, whether it still waits or not, and returns what became of it and what would have woken it.
    pub(crate) fn leave(&mut self, key: Key) -> (Option<Result<P, Turned>>, Option<W>) {
        self.unlink(key);
        let free = self.free.replace(key);
        let entry = &mut self[key];
        entry.behind = free;
        let result = match mem::replace(&mut entry.place, Place::Free) {
            Place::Settled(result) => Some(result),
            _ => None,
        };
        (result, entry.waker.take())
    }

    /// How long a call that comes now may wait.
    fn age(&self, now: u64) -> u64 {
        match self.queue.overload {
            Some(overload) if self.has_stood(overload.after, now) => overload.age,
            _ => self.queue.age,
        }
    }

    fn is_newest_first(&self, now: u64) -> bool {
        let after = self.queue.newest_first;
        after.is_some_and(|after| self.has_stood(after, now))
    }

    fn has_stood(&self, time: u64, now: u64) -> bool {
        self.waiting > 0 && now.saturating_sub(self.standing_since) >= time
    }

    fn len(&self, partition: usize) -> u32 {
        let of = |priority| {
            self.lanes[LaneNumber {
                partition,
                priority,
            }
            .index()]
            .len
        };
        Priority::ALL.into_iter().map(of).sum()
    }

    /// Who would be served last, if not the call that comes: one of lower priority, or the oldest where the newest is first.
    fn victim(&self, comes: LaneNumber, now: u64) -> Option<Key> {
        let newest_first = self.is_newest_first(now);
        let lower = (Priority::ALL.into_iter().rev())
            .take_while(|priority| *priority > comes.priority)
            .find_map(|priority| self.end(LaneNumber { priority, ..comes }, !newest_first));
        let alike = || self.end(comes, false).filter(|_| newest_first);
        lower.or_else(alike)
    }

    /// One end of a lane: its newest call, or its oldest.
    fn end(&self, lane: LaneNumber, newest: bool) -> Option<Key> {
        let lane = &self.lanes[lane.index()];
        if newest { lane.newest } else { lane.oldest }
    }

    fn entry(&mut self, lane: LaneNumber, expires: u64) -> Key {
        let entry = Entry {
            place: Place::Waits(lane),
            waker: None,
            expires,
            before: None,
            behind: None,
        };
        match self.free {
            Some(key) => {
                self.free = self[key].behind;
                self[key] = entry;
                key
            }
            None => {
                self.entries.push(entry);
                Key(self.entries.len() as u32 - 1)
            }
        }
    }

    fn append(&mut self, key: Key, lane: LaneNumber) {
        let index = lane.index();
        let newest = self.lanes[index].newest.replace(key);
        self[key].before = newest;
        match newest {
            Some(newest) => self[newest].behind = Some(key),
            None => self.lanes[index].oldest = Some(key),
        }
        self.lanes[index].len += 1;
        self.waiting += 1;
    }

    fn unlink(&mut self, key: Key) {
        let Place::Waits(lane) = self[key].place else {
            return;
        };
        let (before, behind) = (self[key].before, self[key].behind);
        let index = lane.index();
        match before {
            Some(before) => self[before].behind = behind,
            None => self.lanes[index].oldest = behind,
        }
        match behind {
            Some(behind) => self[behind].before = before,
            None => self.lanes[index].newest = before,
        }
        self.lanes[index].len -= 1;
        self.waiting -= 1;
    }
}

impl<P, W> std::ops::Index<Key> for Line<P, W> {
    type Output = Entry<P, W>;

    fn index(&self, key: Key) -> &Entry<P, W> {
        &self.entries[key.0 as usize]
    }
}

impl<P, W> std::ops::IndexMut<Key> for Line<P, W> {
    fn index_mut(&mut self, key: Key) -> &mut Entry<P, W> {
        &mut self.entries[key.0 as usize]
    }
}
