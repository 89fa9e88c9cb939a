use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tower_service::Service;

/// An inner service to which the test responds by hand, in any order.
///
/// It is always ready. A request is a key, a response a number.
#[derive(Debug, Clone, Default)]
pub struct MockService(Arc<Mutex<Vec<(u8, CallState)>>>);

/// The state of a call.
#[derive(Debug)]
enum CallState {
    Pending(Option<Waker>),
    Answered(Option<Result<u64, MockError>>),
    Dropped,
}

impl MockService {
    /// Returns the keys of all calls so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<u8> {
        self.states().iter().map(|(key, _)| *key).collect()
    }

    /// Returns the numbers of the calls that have no response yet and were not dropped.
    #[must_use]
    pub fn pending(&self) -> Vec<usize> {
        let states = self.states();
        let is_pending = |at: &usize| matches!(states[*at].1, CallState::Pending(_));
        (0..states.len()).filter(is_pending).collect()
    }

    /// Responds to a call with the number of the call.
    pub fn respond(&self, call: usize) {
        self.respond_with(call, Ok(call as u64));
    }

    /// Responds to a call with any result.
    pub fn respond_with(&self, call: usize, result: Result<u64, MockError>) {
        let old = {
            let state = &mut self.states()[call].1;
            std::mem::replace(state, CallState::Answered(Some(result)))
        };
        if let CallState::Pending(Some(waker)) = old {
            waker.wake();
        }
    }

    fn states(&self) -> MutexGuard<'_, Vec<(u8, CallState)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<u8> for MockService {
    type Response = u64;
    type Error = MockError;
    type Future = MockFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), MockError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, key: u8) -> MockFuture {
        let mut states = self.states();
        states.push((key, CallState::Pending(None)));
        MockFuture {
            mock: self.clone(),
            at: states.len() - 1,
        }
    }
}

/// The future of a [`MockService`].
#[derive(Debug)]
pub struct MockFuture {
    mock: MockService,
    at: usize,
}

impl Future for MockFuture {
    type Output = Result<u64, MockError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.mock.states()[self.at].1 {
            CallState::Pending(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            CallState::Answered(result) => {
                Poll::Ready(result.take().expect("not polled after completion"))
            }
            CallState::Dropped => unreachable!("it is not dropped"),
        }
    }
}

impl Drop for MockFuture {
    fn drop(&mut self) {
        let state = &mut self.mock.states()[self.at].1;
        if matches!(state, CallState::Pending(_)) {
            *state = CallState::Dropped;
        }
    }
}

/// The error of a [`MockService`]. It can be neither cloned nor compared.
#[derive(Debug)]
pub struct MockError;

impl fmt::Display for MockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mock was told to fail")
    }
}

impl Error for MockError {}
