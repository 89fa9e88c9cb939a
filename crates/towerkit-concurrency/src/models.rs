//! Models for loom: every interleaving of a few threads, with at most three preemptions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use loom::thread;

use crate::{
    class::Classes,
    line::{Key, LaneNumber},
    pools::Pools,
    queue::Queue,
    room::{Pool, Room, Wait},
    sync as watched,
    tally::Tally,
};

/// Checks a model twice, see [`watched`].
fn model(run: impl Fn() + Copy + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    for loads_count_as_writes in [false, true] {
        watched::LOADS_COUNT_AS_WRITES.set(loads_count_as_writes);
        builder.check(run);
    }
}

fn room(limit: u32) -> Arc<Room> {
    let queue = Queue::new(9, Duration::from_secs(1)).unwrap();
    Arc::new(Room::new(limit, &Classes::new(), Some(queue)))
}

/// Enters, or joins the line.
fn begin(room: &Room) -> Result<Pool, Key> {
    if room.enter() {
        return Ok(Pools::NONE);
    }
    match room.join(LaneNumber::ALIKE, u64::MAX, 0) {
        Wait::Admitted(pool) => Ok(pool),
        Wait::Joined { key, .. } => Err(key),
        Wait::Full => panic!("there is a place in the line"),
    }
}

fn leave(room: &Room, pool: Pool) {
    if room.leave(pool).is_waiting() {
        room.hand_over(0);
    }
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn assert_at_rest(room: &Room) {
    let word = room.word();
    assert_eq!((word.in_flight(), room.waiting()), (0, 0));
    assert!(!word.is_waiting());
}

/// LS-01
#[test]
fn loom_two_calls_are_not_in_flight_under_a_limit_of_one() {
    model(|| {
        let room = room(1);
        let in_flight = Arc::new(AtomicU32::new(0));
        let run = |room: &Room, in_flight: &AtomicU32| {
            if room.enter() {
                assert_eq!(in_flight.fetch_add(1, Ordering::SeqCst), 0);
                thread::yield_now();
                in_flight.fetch_sub(1, Ordering::SeqCst);
                leave(room, Pools::NONE);
            }
        };
        let other = thread::spawn({
            let (room, in_flight) = (room.clone(), in_flight.clone());
            move || run(&room, &in_flight)
        });
        run(&room, &in_flight);
        other.join().unwrap();
        assert!(room.enter(), "the permit was lost");
    });
}

/// LS-12: a call that leaves while another begins to wait hands its room over, and wakes it.
#[test]
fn loom_who_begins_to_wait_is_not_missed_by_who_leaves() {
    model(|| {
        let room = room(1);
        assert!(room.enter());
        let other = thread::spawn({
            let room = room.clone();
            move || leave(&room, Pools::NONE)
        });
        let wakes = Arc::new(Wakes::default());
        let pool = match begin(&room) {
            Ok(pool) => Some(pool),
            Err(key) => {
                let looked = room.look(key, Some(&Waker::from(wakes.clone())));
                let slept = looked.is_none();
                other.join().unwrap();
                let result = looked.or_else(|| room.look(key, None));
                assert!(!slept || wakes.0.load(Ordering::Relaxed) == 1);
                leave(&room, result.expect("handed over").unwrap());
                assert_at_rest(&room);
                return;
            }
        };
        other.join().unwrap();
        leave(&room, pool.unwrap());
        assert_at_rest(&room);
    });
}

/// A call that comes while another leaves does not get ahead of the one that waits.
#[test]
fn loom_nobody_gets_ahead_of_who_waits() {
    model(|| {
        let room = room(1);
        assert!(room.enter());
        let first = begin(&room).unwrap_err();
        let other = thread::spawn({
            let room = room.clone();
            move || leave(&room, Pools::NONE)
        });
        assert!(!room.enter());
        other.join().unwrap();
        assert!(matches!(room.look(first, None), Some(Ok(_))));
    });
}

/// LS-12: a call that gives up just when it is admitted passes the permit on.
#[test]
fn loom_who_gives_up_does_not_keep_the_permit() {
    model(|| {
        let room = room(1);
        assert!(room.enter());
        let first = begin(&room).unwrap_err();
        let second = begin(&room).unwrap_err();
        let other = thread::spawn({
            let room = room.clone();
            move || leave(&room, Pools::NONE)
        });
        room.abandon(first, || 0);
        other.join().unwrap();
        let pool = room.look(second, None).expect("stranded").unwrap();
        leave(&room, pool);
        assert_at_rest(&room);
    });
}

/// LS-12: the last one in line leaves it while another joins.
#[test]
fn loom_the_bit_stays_while_somebody_waits() {
    model(|| {
        let room = room(1);
        assert!(room.enter());
        let first = begin(&room).unwrap_err();
        let other = thread::spawn({
            let room = room.clone();
            move || room.abandon(first, || 0)
        });
        let second = begin(&room).unwrap_err();
        assert!(!other.join().unwrap());
        leave(&room, Pools::NONE);
        let pool = room.look(second, None).expect("stranded").unwrap();
        leave(&room, pool);
        assert_at_rest(&room);
    });
}

/// LS-12: a limit that is raised while a call begins to wait.
#[test]
fn loom_a_higher_limit_lets_go_ahead_who_waits() {
    model(|| {
        let room = room(1);
        assert!(room.enter());
        let other = thread::spawn({
            let room = room.clone();
            move || {
                if room.set_limit(2) {
                    room.hand_over(0);
                }
            }
        });
        let begun = begin(&room);
        other.join().unwrap();
        let pool = begun.or_else(|key| room.look(key, None).expect("stranded").map_err(|_| key));
        assert!(pool.is_ok());
        assert_eq!((room.word().in_flight(), room.word().limit()), (2, 2));
    });
}

/// LS-12, where there are partitions: a call that holds a place for a moment hides it from another.
#[test]
fn loom_a_place_in_a_pool_is_not_lost_between_two_calls() {
    model(|| {
        let classes = Classes::new().partition("web", 1.0).unwrap();
        let queue = Queue::new(1, Duration::from_secs(1)).unwrap();
        let room = Arc::new(Room::new(1, &classes, Some(queue)));
        let pool = room.enter_as(LaneNumber::ALIKE, 1, false).unwrap();
        let Wait::Joined { key, .. } = room.join(LaneNumber::ALIKE, u64::MAX, 1) else {
            panic!("waits");
        };
        let other = thread::spawn({
            let room = room.clone();
            move || leave(&room, pool)
        });
        assert!(
            room.enter_as(LaneNumber::ALIKE, 1, false).is_none(),
            "ahead of who waits"
        );
        other.join().unwrap();
        let pool = room.look(key, None).expect("stranded").unwrap();
        leave(&room, pool);
        assert_at_rest(&room);
    });
}

/// The totals of a throttle are the sum of its buckets, whoever counts while they move on.
#[test]
fn loom_nothing_that_is_counted_is_lost_or_kept_for_ever() {
    model(|| {
        let tally = Arc::new(Tally::new(Tally::BUCKETS));
        assert_eq!(tally.counts(1).calls, 0);
        let other = thread::spawn({
            let tally = tally.clone();
            move || {
                tally.call();
                tally.accept(1);
            }
        });
        let far = 1 + Tally::BUCKETS;
        assert!(tally.counts(far).calls <= 1);
        other.join().unwrap();
        let left = tally.counts(far + Tally::BUCKETS);
        assert_eq!((left.calls, left.accepted), (0, 0));
    });
}
