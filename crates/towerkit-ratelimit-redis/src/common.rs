use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    task::{Context, Poll, Wake, Waker},
};

use futures_util::future::BoxFuture;

/// A future whose result many wait for.
///
/// Each of them drives it, so that it comes to its end though some are dropped; one who only looks drives it as well. Those who wait
/// are woken when the future has something to do, and once more if it ended in another's poll.
pub(crate) struct Common<T> {
    work: Arc<Mutex<Work<T>>>,
    bell: Arc<Bell>,
}

enum Work<T> {
    Going(BoxFuture<'static, T>),
    Done(T),
}

/// Wakes all who wait.
#[derive(Default)]
struct Bell(Mutex<Seats>);

#[derive(Default)]
struct Seats {
    /// A seat that is taken has a waker, unless that was used since.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl<T: Clone> Common<T> {
    pub(crate) fn new(future: BoxFuture<'static, T>) -> Self {
        Self {
            work: Arc::new(Mutex::new(Work::Going(future))),
            bell: Arc::default(),
        }
    }

    /// Waits for the result.
    pub(crate) fn wait(&self) -> Waiting<T> {
        Waiting {
            common: self.clone(),
            seat: None,
        }
    }

    /// Returns the result if it is there, or comes now; never waits for another who drives it.
    pub(crate) fn look(&self) -> Option<T> {
        let mut work = match self.work.try_lock() {
            Ok(work) => work,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let done = self.drive(&mut work)?;
        drop(work);
        self.bell.ring();
        Some(done)
    }

    /// Returns the result if it is there.
    pub(crate) fn result(&self) -> Option<T> {
        match &*lock(&self.work) {
            Work::Going(_) => None,
            Work::Done(done) => Some(done.clone()),
        }
    }

    fn drive(&self, work: &mut Work<T>) -> Option<T> {
        if let Work::Going(future) = work {
            let waker = Waker::from(self.bell.clone());
            let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) else {
                return None;
            };
            *work = Work::Done(done);
        }
        match work {
            Work::Going(_) => None,
            Work::Done(done) => Some(done.clone()),
        }
    }
}

impl<T> Clone for Common<T> {
    fn clone(&self) -> Self {
        Self {
            work: self.work.clone(),
            bell: self.bell.clone(),
        }
    }
}

impl<T> fmt::Debug for Common<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common").finish_non_exhaustive()
    }
}

/// One who waits.
pub(crate) struct Waiting<T> {
    common: Common<T>,
    seat: Option<usize>,
}

impl<T: Clone> Future for Waiting<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let me = &mut *self;
        let mut work = lock(&me.common.work);
        if let Work::Going(_) = *work {
            me.common.bell.sit(&mut me.seat, cx.waker());
        }
        let Some(done) = me.common.drive(&mut work) else {
            return Poll::Pending;
        };
        drop(work);
        if let Some(seat) = me.seat.take() {
            me.common.bell.rise(seat);
        }
        me.common.bell.ring();
        Poll::Ready(done)
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.common.bell.rise(seat);
        }
    }
}

impl Bell {
    fn sit(&self, seat: &mut Option<usize>, waker: &Waker) {
        let mut seats = lock(&self.0);
        let at = match *seat {
            Some(at) => at,
            None => seats.free.pop().unwrap_or_else(|| {
                seats.wakers.push(None);
                seats.wakers.len() - 1
            }),
        };
        *seat = Some(at);
        match &mut seats.wakers[at] {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn rise(&self, seat: usize) {
        let mut seats = lock(&self.0);
        let waker = seats.wakers[seat].take();
        seats.free.push(seat);
        // A waker may do anything when it is dropped.
        drop(seats);
        drop(waker);
    }

    fn ring(&self) {
        let wakers: Vec<Waker> = {
            let mut seats = lock(&self.0);
            seats.wakers.iter_mut().filter_map(Option::take).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One who waits, and how often it was woken.
    struct Task<T>(Option<Waiting<T>>, Arc<Count>);

    impl<T: Clone> Task<T> {
        fn new(common: &Common<T>) -> Self {
            Self(Some(common.wait()), Arc::default())
        }

        fn poll(&mut self) -> Poll<T> {
            let waker = Waker::from(self.1.clone());
            let waiting = self.0.as_mut().expect("it waits");
            waiting.poll_unpin(&mut Context::from_waker(&waker))
        }

        fn woken(&self) -> u32 {
            self.1.0.load(Ordering::Relaxed)
        }
    }

    fn common() -> (oneshot::Sender<u32>, Common<u32>) {
        let (sender, receiver) = oneshot::channel();
        (sender, Common::new(receiver.map(Result::unwrap).boxed()))
    }

    #[test]
    fn all_get_the_result_and_are_woken_once() {
        let (sender, common) = common();
        let mut tasks = [0; 3].map(|_| Task::new(&common));
        assert!(tasks.iter_mut().all(|task| task.poll().is_pending()));
        sender.send(7).unwrap();
        for task in &mut tasks {
            assert_eq!((task.woken(), task.poll()), (1, Poll::Ready(7)));
        }
        assert!(tasks.iter().all(|task| task.woken() == 1));
        assert_eq!(common.look(), Some(7));
    }

    /// T-03
    #[test]
    fn whoever_is_left_goes_on() {
        let (sender, common) = common();
        let mut tasks = [0; 3].map(|_| Task::new(&common));
        assert!(tasks.iter_mut().all(|task| task.poll().is_pending()));
        tasks[0].0 = None;
        tasks[2].0 = None;
        sender.send(7).unwrap();
        assert_eq!(tasks.each_ref().map(Task::woken), [0, 1, 0]);
        assert_eq!(tasks[1].poll(), Poll::Ready(7));
    }

    #[test]
    fn one_who_looks_wakes_those_who_wait() {
        let (sender, common) = common();
        assert_eq!(common.look(), None);
        let mut task = Task::new(&common);
        assert!(task.poll().is_pending());
        sender.send(7).unwrap();
        assert_eq!(common.result(), None);
        assert_eq!(common.look(), Some(7));
        assert_eq!(common.result(), Some(7));
        assert_eq!((task.woken(), task.poll()), (1, Poll::Ready(7)));
    }

    /// As a caller that has a token must not wait for one that has none.
    #[test]
    fn one_who_looks_does_not_wait_for_one_who_drives() {
        let (_sender, common) = common();
        let _driving = lock(&common.work);
        assert_eq!(common.look(), None);
    }

    #[test]
    fn a_seat_that_is_given_up_is_taken_again() {
        let (_sender, common) = common();
        for _ in 0..1000 {
            assert!(Task::new(&common).poll().is_pending());
        }
        assert_eq!(lock(&common.bell.0).wakers.len(), 1);
    }
}
