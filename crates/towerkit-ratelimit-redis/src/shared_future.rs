use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    task::{Context, Poll, Wake, Waker},
};

use futures_util::future::BoxFuture;

/// A future with many waiters, each of which gets a clone of the output.
///
/// Every waiter polls the future, so that it completes although some waiters are dropped. Unlike [`futures_util::future::Shared`], the
/// poll that completes the future does not wake its own task, so that a call that waits is woken once (T-06).
pub(crate) struct SharedFuture<T> {
    state: Arc<Mutex<State<T>>>,
    wakers: Arc<WakerSet>,
}

enum State<T> {
    Pending(BoxFuture<'static, T>),
    Ready(T),
}

/// The wakers of all waiters.
#[derive(Default)]
struct WakerSet(Mutex<WakerSlots>);

#[derive(Default)]
struct WakerSlots {
    /// A used slot has a waker until that is woken.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl<T: Clone> SharedFuture<T> {
    pub(crate) fn new(future: BoxFuture<'static, T>) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::Pending(future))),
            wakers: Arc::default(),
        }
    }

    /// Returns a future of the output.
    pub(crate) fn waiter(&self) -> Waiter<T> {
        Waiter {
            shared: self.clone(),
            slot: None,
        }
    }

    /// Polls the future, unless another thread polls it, and returns the output if it is ready.
    pub(crate) fn poll_now(&self) -> Option<T> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let output = self.poll_state(&mut state)?;
        drop(state);
        self.wakers.wake_all();
        Some(output)
    }

    /// Returns the output if it is ready.
    pub(crate) fn peek(&self) -> Option<T> {
        match &*lock(&self.state) {
            State::Pending(_) => None,
            State::Ready(output) => Some(output.clone()),
        }
    }

    fn poll_state(&self, state: &mut State<T>) -> Option<T> {
        if let State::Pending(future) = state {
            let waker = Waker::from(self.wakers.clone());
            let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) else {
                return None;
            };
            *state = State::Ready(output);
        }
        match state {
            State::Pending(_) => None,
            State::Ready(output) => Some(output.clone()),
        }
    }
}

impl<T> Clone for SharedFuture<T> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            wakers: self.wakers.clone(),
        }
    }
}

impl<T> fmt::Debug for SharedFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedFuture").finish_non_exhaustive()
    }
}

/// A waiter of a [`SharedFuture`].
pub(crate) struct Waiter<T> {
    shared: SharedFuture<T>,
    /// The slot of its waker.
    slot: Option<usize>,
}

impl<T: Clone> Future for Waiter<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Self { shared, slot } = &mut *self;
        let mut state = lock(&shared.state);
        if let State::Pending(_) = *state {
            shared.wakers.register(slot, cx.waker());
        }
        let Some(output) = shared.poll_state(&mut state) else {
            return Poll::Pending;
        };
        drop(state);
        // This task is not woken.
        if let Some(slot) = slot.take() {
            shared.wakers.remove(slot);
        }
        shared.wakers.wake_all();
        Poll::Ready(output)
    }
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.shared.wakers.remove(slot);
        }
    }
}

impl WakerSet {
    /// Stores the waker in the slot of the waiter, and gives a slot to a waiter that has none.
    fn register(&self, slot: &mut Option<usize>, waker: &Waker) {
        let mut slots = lock(&self.0);
        let index = match *slot {
            Some(index) => index,
            None => slots.free.pop().unwrap_or_else(|| {
                slots.wakers.push(None);
                slots.wakers.len() - 1
            }),
        };
        *slot = Some(index);
        match &mut slots.wakers[index] {
            Some(old) => old.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
    }

    fn remove(&self, slot: usize) {
        let mut slots = lock(&self.0);
        let waker = slots.wakers[slot].take();
        slots.free.push(slot);
        // Dropping a waker may run foreign code.
        drop(slots);
        drop(waker);
    }

    fn wake_all(&self) {
        let wakers: Vec<Waker> = {
            let mut slots = lock(&self.0);
            slots.wakers.iter_mut().filter_map(Option::take).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Wake for WakerSet {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
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

    /// A task with a waiter, and the number of its wakes.
    struct Task<T>(Option<Waiter<T>>, Arc<Count>);

    impl<T: Clone> Task<T> {
        fn new(shared: &SharedFuture<T>) -> Self {
            Self(Some(shared.waiter()), Arc::default())
        }

        fn poll(&mut self) -> Poll<T> {
            let waker = Waker::from(self.1.clone());
            let waiting = self.0.as_mut().expect("it was not dropped");
            waiting.poll_unpin(&mut Context::from_waker(&waker))
        }

        fn woken(&self) -> u32 {
            self.1.0.load(Ordering::Relaxed)
        }
    }

    fn shared_future() -> (oneshot::Sender<u32>, SharedFuture<u32>) {
        let (sender, receiver) = oneshot::channel();
        (
            sender,
            SharedFuture::new(receiver.map(Result::unwrap).boxed()),
        )
    }

    #[test]
    fn all_waiters_get_the_output_and_are_woken_once() {
        let (sender, shared) = shared_future();
        let mut tasks = [0; 3].map(|_| Task::new(&shared));
        assert!(tasks.iter_mut().all(|task| task.poll().is_pending()));
        sender.send(7).unwrap();
        for task in &mut tasks {
            assert_eq!((task.woken(), task.poll()), (1, Poll::Ready(7)));
        }
        assert!(tasks.iter().all(|task| task.woken() == 1));
        assert_eq!(shared.poll_now(), Some(7));
    }

    /// T-03
    #[test]
    fn it_completes_when_some_waiters_are_dropped() {
        let (sender, shared) = shared_future();
        let mut tasks = [0; 3].map(|_| Task::new(&shared));
        assert!(tasks.iter_mut().all(|task| task.poll().is_pending()));
        tasks[0].0 = None;
        tasks[2].0 = None;
        sender.send(7).unwrap();
        assert_eq!(tasks.each_ref().map(Task::woken), [0, 1, 0]);
        assert_eq!(tasks[1].poll(), Poll::Ready(7));
    }

    #[test]
    fn poll_now_wakes_the_waiters() {
        let (sender, shared) = shared_future();
        assert_eq!(shared.poll_now(), None);
        let mut task = Task::new(&shared);
        assert!(task.poll().is_pending());
        sender.send(7).unwrap();
        assert_eq!(shared.peek(), None);
        assert_eq!(shared.poll_now(), Some(7));
        assert_eq!(shared.peek(), Some(7));
        assert_eq!((task.woken(), task.poll()), (1, Poll::Ready(7)));
    }

    /// A caller with a token does not wait for a caller without one.
    #[test]
    fn poll_now_does_not_block_on_another_thread() {
        let (_sender, shared) = shared_future();
        let _polling = lock(&shared.state);
        assert_eq!(shared.poll_now(), None);
    }

    #[test]
    fn the_slot_of_a_dropped_waiter_is_reused() {
        let (_sender, shared) = shared_future();
        for _ in 0..1000 {
            assert!(Task::new(&shared).poll().is_pending());
        }
        assert_eq!(lock(&shared.wakers.0).wakers.len(), 1);
    }
}
