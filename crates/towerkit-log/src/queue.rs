use std::mem;

/// Lines on the way to the thread that writes them, with counts of the lines that are dropped.
///
/// Each pushed line is accepted or dropped at once, and each accepted line is completed later: written or lost. The memory is two
/// buffers, one of which the writing thread holds, so that neither side waits for a copy of the other.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: QueueLimits,
    waiting: Vec<u8>,
    /// The number of waiting lines.
    lines: usize,
    accepted: u64,
    completed: u64,
    dropped: u64,
    /// The number of dropped lines that the log has reported.
    reported: u64,
    /// The writing thread sleeps until it is woken.
    is_idle: bool,
    is_flush_requested: bool,
    is_closed: bool,
    /// The writing thread has taken the last lines.
    is_finished: bool,
}

/// The maximum size of a [`Queue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    pub(crate) bytes: usize,
    pub(crate) lines: usize,
}

impl Queue {
    /// Creates a queue with all the memory that it will need.
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            waiting: Vec::with_capacity(limits.bytes),
            lines: 0,
            accepted: 0,
            completed: 0,
            dropped: 0,
            reported: 0,
            is_idle: false,
            is_flush_requested: false,
            is_closed: false,
            is_finished: false,
        }
    }

    /// Appends a line if the whole line fits, and returns true if the writing thread has to be woken.
    pub(crate) fn push(&mut self, line: &[u8]) -> bool {
        let before = self.waiting.len();
        let fits = self.lines < self.limits.lines && line.len() <= self.limits.bytes - before;
        if self.is_finished || !fits {
            self.dropped += 1;
            return false;
        }
        self.waiting.extend_from_slice(line);
        self.lines += 1;
        self.accepted += 1;
        let half = self.limits.bytes / 2;
        let becomes_full = before < half && self.waiting.len() >= half;
        mem::take(&mut self.is_idle) || becomes_full
    }

    /// Returns true if the writing thread should not wait for more lines.
    pub(crate) fn is_urgent(&self) -> bool {
        self.is_closed || self.is_flush_requested || self.waiting.len() >= self.limits.bytes / 2
    }

    /// Marks the writing thread as idle if there is nothing to write, so that the next line wakes it. Returns true if it is idle.
    pub(crate) fn begin_idle(&mut self) -> bool {
        self.is_idle = self.lines == 0 && !self.is_closed;
        self.is_idle
    }

    /// Returns true if the writing thread sleeps until it is woken.
    #[cfg(all(test, not(towerkit_loom)))]
    pub(crate) fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Swaps the waiting lines with `batch`, which is empty. Returns their number, which is zero only after the end.
    pub(crate) fn take_batch(&mut self, batch: &mut Vec<u8>) -> usize {
        self.is_finished = self.is_closed;
        mem::swap(&mut self.waiting, batch);
        self.is_flush_requested = false;
        self.is_idle = false;
        mem::take(&mut self.lines)
    }

    /// Records that a batch of `lines` is completed, of which `lost` were not written.
    pub(crate) fn complete(&mut self, lines: usize, lost: usize) {
        self.completed += lines as u64;
        self.dropped += lost as u64;
    }

    /// Returns the number of dropped lines that the log has not reported.
    pub(crate) fn unreported(&self) -> u64 {
        self.dropped - self.reported
    }

    /// Records that the log has reported `dropped` more lines.
    pub(crate) fn mark_reported(&mut self, dropped: u64) {
        self.reported += dropped;
    }

    /// Requests that the waiting lines are written now, and returns a ticket for [`is_flushed`](Self::is_flushed).
    pub(crate) fn request_flush(&mut self) -> u64 {
        self.is_flush_requested = self.lines > 0;
        self.is_idle = false;
        self.accepted
    }

    /// Returns true if all lines before the [request](Self::request_flush) of this ticket are written or lost.
    pub(crate) fn is_flushed(&self, ticket: u64) -> bool {
        self.completed >= ticket
    }

    /// Tells the writing thread to end after one more batch.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.is_idle = false;
    }

    /// Returns true if the writing thread takes no more lines.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Counts a dropped line that was not pushed.
    pub(crate) fn count_dropped(&mut self) {
        self.dropped += 1;
    }

    /// Returns the number of dropped lines: those that were not accepted, and those that could not be written.
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
        /// Pushes a line of this many bytes.
        Push(usize),
        /// The writing thread finds the queue empty, or takes all lines.
        BeginIdle,
        Take,
        /// Completes the lines taken, of which this many in ten are lost.
        Complete(usize),
        RequestFlush,
        Report,
        Close,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..40_usize).prop_map(Step::Push),
            2 => Just(Step::BeginIdle),
            2 => Just(Step::Take),
            2 => (0..=10_usize).prop_map(Step::Complete),
            1 => Just(Step::RequestFlush),
            1 => Just(Step::Report),
        ];
        let end = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(prop_oneof![
            Just(Step::Close), (0..40_usize).prop_map(Step::Push), Just(Step::Take), Just(Step::Complete(0)),
        ], 1..12)];
        (prop::collection::vec(step, 1..40), end).prop_map(|(steps, end)| [steps, end].concat())
    }

    /// Each line, and its fate.
    #[derive(Default)]
    struct Model {
        waiting: VecDeque<Vec<u8>>,
        taken: VecDeque<Vec<u8>>,
        pushed: u64,
        written: u64,
        lost: u64,
        rejected: u64,
        reported: u64,
        sleeps: bool,
        closed: bool,
        finished: bool,
    }

    impl Model {
        fn bytes(&self) -> usize {
            self.waiting.iter().map(Vec::len).sum()
        }

        fn push(&mut self, line: &[u8], limits: QueueLimits) -> bool {
            self.pushed += 1;
            let before = self.bytes();
            if self.finished
                || self.waiting.len() == limits.lines
                || before + line.len() > limits.bytes
            {
                self.rejected += 1;
                return false;
            }
            self.waiting.push_back(line.to_vec());
            let crosses = before < limits.bytes / 2 && self.bytes() >= limits.bytes / 2;
            mem::take(&mut self.sleeps) || crosses
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// LG-05, LG-07: lines are written whole and in order, and each is counted exactly once.
        #[test]
        fn every_line_is_written_in_order_or_counted(
            bytes in 1..200_usize,
            lines in 1..12_usize,
            steps in steps(),
        ) {
            let limits = QueueLimits { bytes, lines };
            let (mut queue, mut model, mut batch) = (Queue::new(limits), Model::default(), Vec::with_capacity(bytes));
            let mut flushes: Vec<(u64, u64)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(length) => {
                        let line = vec![number as u8; length];
                        prop_assert_eq!(queue.push(&line), model.push(&line, limits));
                    }
                    Step::BeginIdle => {
                        model.sleeps = model.waiting.is_empty() && !model.closed;
                        prop_assert_eq!(queue.begin_idle(), model.sleeps);
                    }
                    Step::Take if model.taken.is_empty() => {
                        batch.clear();
                        prop_assert_eq!(queue.take_batch(&mut batch), model.waiting.len());
                        model.sleeps = false;
                        model.finished = model.closed;
                        prop_assert_eq!(queue.is_finished(), model.finished);
                        model.taken = mem::take(&mut model.waiting);
                        prop_assert_eq!(&batch, &model.taken.iter().flatten().copied().collect::<Vec<_>>());
                        prop_assert!(batch.capacity() <= bytes.max(8), "memory does not grow");
                    }
                    Step::Complete(tenths) => {
                        let taken = mem::take(&mut model.taken).len();
                        let lost = taken * tenths / 10;
                        queue.complete(taken, lost);
                        model.lost += lost as u64;
                        model.written += (taken - lost) as u64;
                    }
                    Step::RequestFlush => {
                        let ahead = model.pushed - model.rejected;
                        flushes.push((queue.request_flush(), ahead));
                        model.sleeps = false;
                        prop_assert!(model.waiting.is_empty() || queue.is_urgent());
                    }
                    Step::Report => {
                        let unreported = queue.unreported();
                        queue.mark_reported(unreported);
                        model.reported += unreported;
                        prop_assert_eq!(model.reported, model.rejected + model.lost);
                    }
                    Step::Close => {
                        queue.close();
                        model.closed = true;
                        model.sleeps = false;
                        prop_assert!(queue.is_urgent());
                    }
                    Step::Take => {}
                }
                prop_assert_eq!(queue.dropped(), model.rejected + model.lost);
                for (ticket, ahead) in &flushes {
                    prop_assert_eq!(queue.is_flushed(*ticket), model.written + model.lost >= *ahead);
                }
            }
        }
    }

    #[test]
    fn an_idle_thread_is_woken_once_and_a_busy_one_when_half_is_full() {
        let mut queue = Queue::new(QueueLimits {
            bytes: 10,
            lines: 10,
        });
        assert!(queue.begin_idle());
        assert!(queue.push(b"a\n"));
        assert!(!queue.push(b"b\n"), "the thread is awake");
        assert!(queue.push(b"c\n"), "half of the queue is filled");
        assert!(!queue.push(b"d\n"));
        assert!(!queue.begin_idle());
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
        let limits = QueueLimits {
            bytes: 100,
            lines: 9,
        };
        Arc::new(Shared {
            queue: Mutex::new(Queue::new(limits)),
            wake: Condvar::new(),
        })
    }

    fn push(shared: &Shared) {
        let must_wake = shared.queue.lock().unwrap().push(b"line\n");
        if must_wake {
            shared.wake.notify_one();
        }
    }

    /// Takes a batch as the worker does, without its pause.
    fn take(shared: &Shared, batch: &mut Vec<u8>) -> usize {
        batch.clear();
        let mut queue = shared.queue.lock().unwrap();
        while queue.begin_idle() {
            queue = shared.wake.wait(queue).unwrap();
        }
        queue.take_batch(batch)
    }

    /// LG-05: no line is forgotten because the thread was not woken. Loom fails if a thread waits forever.
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

    /// LG-05: a flush and the end of the queue wake the thread in any of its states.
    #[test]
    fn loom_a_flush_and_the_end_wake_the_thread() {
        loom::model(|| {
            let shared = shared();
            let closing = shared.clone();
            let other = thread::spawn(move || {
                closing.queue.lock().unwrap().request_flush();
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
