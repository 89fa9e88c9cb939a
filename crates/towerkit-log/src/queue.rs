use std::mem;

/// Lines on their way to the thread that writes them, and the account of those that never arrive.
///
/// Every line that is offered is accepted or dropped at once, and every line that is accepted is settled later: written, or lost on
/// the way. The memory is two buffers, of which the writing thread holds one: so neither side ever waits for the other to copy.
#[derive(Debug)]
pub(crate) struct Queue {
    bounds: Bounds,
    waiting: Vec<u8>,
    /// How many lines wait.
    lines: usize,
    accepted: u64,
    settled: u64,
    dropped: u64,
    /// How many of those that were dropped the log itself has told of.
    told: u64,
    /// The writing thread sleeps until it is woken.
    is_idle: bool,
    /// Somebody waits for what has been accepted.
    is_urgent: bool,
    is_closed: bool,
    /// The writing thread has taken the last lines.
    is_over: bool,
}

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) lines: usize,
}

impl Queue {
    /// Takes all the memory that it will ever need.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            waiting: Vec::with_capacity(bounds.bytes),
            lines: 0,
            accepted: 0,
            settled: 0,
            dropped: 0,
            told: 0,
            is_idle: false,
            is_urgent: false,
            is_closed: false,
            is_over: false,
        }
    }

    /// Appends a line if there is room for all of it, and returns whether the writing thread has to be woken.
    pub(crate) fn push(&mut self, line: &[u8]) -> bool {
        let before = self.waiting.len();
        let fits = self.lines < self.bounds.lines && line.len() <= self.bounds.bytes - before;
        if self.is_over || !fits {
            self.dropped += 1;
            return false;
        }
        self.waiting.extend_from_slice(line);
        self.lines += 1;
        self.accepted += 1;
        let half = self.bounds.bytes / 2;
        let becomes_full = before < half && self.waiting.len() >= half;
        mem::take(&mut self.is_idle) || becomes_full
    }

    /// Whether the writing thread should no longer wait for more lines to gather.
    pub(crate) fn is_pressing(&self) -> bool {
        self.is_closed || self.is_urgent || self.waiting.len() >= self.bounds.bytes / 2
    }

    /// Whether there is nothing to do, in which case the writing thread is woken by the next line.
    pub(crate) fn rests(&mut self) -> bool {
        self.is_idle = self.lines == 0 && !self.is_closed;
        self.is_idle
    }

    /// Whether the writing thread sleeps until it is woken.
    #[cfg(all(test, not(towerkit_loom)))]
    pub(crate) fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Swaps what waits for `batch`, which is empty, and returns how many lines that is: none only when all is over.
    pub(crate) fn take(&mut self, batch: &mut Vec<u8>) -> usize {
        self.is_over = self.is_closed;
        mem::swap(&mut self.waiting, batch);
        self.is_urgent = false;
        self.is_idle = false;
        mem::take(&mut self.lines)
    }

    /// Takes down that `lines` have been taken and dealt with, of which `lost` were not written.
    pub(crate) fn settle(&mut self, lines: usize, lost: usize) {
        self.settled += lines as u64;
        self.dropped += lost as u64;
    }

    /// Returns how many lines were dropped of which the log has not told.
    pub(crate) fn untold(&self) -> u64 {
        self.dropped - self.told
    }

    /// Takes down that the log has told of `dropped` lines more.
    pub(crate) fn tell(&mut self, dropped: u64) {
        self.told += dropped;
    }

    /// Asks for all that has been accepted so far, and returns what [`is_settled`](Self::is_settled) is to be asked for.
    pub(crate) fn hurry(&mut self) -> u64 {
        self.is_urgent = self.lines > 0;
        self.is_idle = false;
        self.accepted
    }

    /// Whether the first `accepted` lines are written or lost.
    pub(crate) fn is_settled(&self, accepted: u64) -> bool {
        self.settled >= accepted
    }

    /// Ends the writing thread, which takes what there is once more.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.is_idle = false;
    }

    /// Whether the writing thread takes no more lines.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes down that a line was dropped that was never offered.
    pub(crate) fn count_dropped(&mut self) {
        self.dropped += 1;
    }

    /// Returns how many lines were dropped: rejected, or lost because they could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// A line of so many bytes.
        Push(usize),
        /// The writing thread looks, and takes what there is.
        Rest,
        Take,
        /// Of the lines that were taken, so many in ten are lost.
        Settle(usize),
        Hurry,
        Tell,
        Close,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..40_usize).prop_map(Step::Push),
            2 => Just(Step::Rest),
            2 => Just(Step::Take),
            2 => (0..=10_usize).prop_map(Step::Settle),
            1 => Just(Step::Hurry),
            1 => Just(Step::Tell),
        ];
        let end = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(prop_oneof![
            Just(Step::Close), (0..40_usize).prop_map(Step::Push), Just(Step::Take), Just(Step::Settle(0)),
        ], 1..12)];
        (prop::collection::vec(step, 1..40), end).prop_map(|(steps, end)| [steps, end].concat())
    }

    /// Every line by itself, with what became of it.
    #[derive(Default)]
    struct Model {
        waiting: VecDeque<Vec<u8>>,
        taken: VecDeque<Vec<u8>>,
        pushed: u64,
        written: u64,
        lost: u64,
        rejected: u64,
        told: u64,
        sleeps: bool,
        closed: bool,
        over: bool,
    }

    impl Model {
        fn bytes(&self) -> usize {
            self.waiting.iter().map(Vec::len).sum()
        }

        fn push(&mut self, line: &[u8], bounds: Bounds) -> bool {
            self.pushed += 1;
            let before = self.bytes();
            if self.over || self.waiting.len() == bounds.lines || before + line.len() > bounds.bytes
            {
                self.rejected += 1;
                return false;
            }
            self.waiting.push_back(line.to_vec());
            let crosses = before < bounds.bytes / 2 && self.bytes() >= bounds.bytes / 2;
            mem::take(&mut self.sleeps) || crosses
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// LG-05, LG-07: lines come out whole and in order, and each is counted exactly once.
        #[test]
        fn every_line_is_written_in_order_or_counted(
            bytes in 1..200_usize,
            lines in 1..12_usize,
            steps in steps(),
        ) {
            let bounds = Bounds { bytes, lines };
            let (mut queue, mut model, mut batch) = (Queue::new(bounds), Model::default(), Vec::with_capacity(bytes));
            let mut asked: Vec<(u64, u64)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(length) => {
                        let line = vec![number as u8; length];
                        prop_assert_eq!(queue.push(&line), model.push(&line, bounds));
                    }
                    Step::Rest => {
                        model.sleeps = model.waiting.is_empty() && !model.closed;
                        prop_assert_eq!(queue.rests(), model.sleeps);
                    }
                    Step::Take if model.taken.is_empty() => {
                        batch.clear();
                        prop_assert_eq!(queue.take(&mut batch), model.waiting.len());
                        model.sleeps = false;
                        model.over = model.closed;
                        prop_assert_eq!(queue.is_over(), model.over);
                        model.taken = mem::take(&mut model.waiting);
                        prop_assert_eq!(&batch, &model.taken.iter().flatten().copied().collect::<Vec<_>>());
                        prop_assert!(batch.capacity() <= bytes.max(8), "memory does not grow");
                    }
                    Step::Settle(tenths) => {
                        let taken = mem::take(&mut model.taken).len();
                        let lost = taken * tenths / 10;
                        queue.settle(taken, lost);
                        model.lost += lost as u64;
                        model.written += (taken - lost) as u64;
                    }
                    Step::Hurry => {
                        let ahead = model.pushed - model.rejected;
                        asked.push((queue.hurry(), ahead));
                        model.sleeps = false;
                        prop_assert!(model.waiting.is_empty() || queue.is_pressing());
                    }
                    Step::Tell => {
                        let untold = queue.untold();
                        queue.tell(untold);
                        model.told += untold;
                        prop_assert_eq!(model.told, model.rejected + model.lost);
                    }
                    Step::Close => {
                        queue.close();
                        model.closed = true;
                        model.sleeps = false;
                        prop_assert!(queue.is_pressing());
                    }
                    Step::Take => {}
                }
                prop_assert_eq!(queue.dropped(), model.rejected + model.lost);
                for (ticket, ahead) in &asked {
                    prop_assert_eq!(queue.is_settled(*ticket), model.written + model.lost >= *ahead);
                }
            }
        }
    }

    #[test]
    fn a_quiet_thread_is_woken_once_and_a_busy_one_when_half_is_full() {
        let mut queue = Queue::new(Bounds {
            bytes: 10,
            lines: 10,
        });
        assert!(queue.rests());
        assert!(queue.push(b"a\n"));
        assert!(!queue.push(b"b\n"), "it is awake");
        assert!(queue.push(b"c\n"), "half of the room is taken");
        assert!(!queue.push(b"d\n"));
        assert!(!queue.rests());
    }
}

#[cfg(all(test, towerkit_loom))]
mod loom_models {
    use loom::{
        sync::{Arc, Condvar, Mutex},
        thread,
    };

    use super::*;

    struct Shared {
        queue: Mutex<Queue>,
        wake: Condvar,
    }

    fn shared() -> Arc<Shared> {
        let bounds = Bounds {
            bytes: 100,
            lines: 9,
        };
        Arc::new(Shared {
            queue: Mutex::new(Queue::new(bounds)),
            wake: Condvar::new(),
        })
    }

    fn push(shared: &Shared) {
        let must_wake = shared.queue.lock().unwrap().push(b"line\n");
        if must_wake {
            shared.wake.notify_one();
        }
    }

    /// As the worker does, without its pause, which only delays it.
    fn take(shared: &Shared, batch: &mut Vec<u8>) -> usize {
        batch.clear();
        let mut queue = shared.queue.lock().unwrap();
        while queue.rests() {
            queue = shared.wake.wait(queue).unwrap();
        }
        queue.take(batch)
    }

    /// LG-05: no line is left behind because nobody woke the thread. Loom says so if it waits forever.
    #[test]
    fn loom_every_line_wakes_the_thread_or_finds_it_awake() {
        loom::model(|| {
            let shared = shared();
            let push_one = {
                let shared = shared.clone();
                move || push(&shared)
            };
            let other = thread::spawn(push_one);
            push(&shared);
            let (mut batch, mut all) = (Vec::new(), 0);
            while all < 2 {
                all += take(&shared, &mut batch);
            }
            other.join().unwrap();
        });
    }

    /// LG-05: nor does a flush or the end, whatever the thread is about.
    #[test]
    fn loom_a_flush_and_the_end_wake_the_thread() {
        loom::model(|| {
            let shared = shared();
            let closing = shared.clone();
            let other = thread::spawn(move || {
                closing.queue.lock().unwrap().hurry();
                closing.wake.notify_one();
                push(&closing);
                closing.queue.lock().unwrap().close();
                closing.wake.notify_one();
            });
            let (mut batch, mut all) = (Vec::new(), 0);
            loop {
                match take(&shared, &mut batch) {
                    0 => break,
                    lines => all += lines,
                }
            }
            assert_eq!(all, 1);
            other.join().unwrap();
        });
    }
}
