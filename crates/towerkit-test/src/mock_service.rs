use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tower_service::Service;

/// An inner service whose calls are answered by hand, in any order.
///
/// It is always ready. A request is a key, an answer a number.
#[derive(Debug, Clone, Default)]
pub struct MockService(Arc<Mutex<Vec<(u8, Line)>>>);

/// What became of a call.
#[derive(Debug)]
enum Line {
    Open(Option<Waker>),
    Answered(Option<Result<u64, MockError>>),
    Dropped,
}

impl MockService {
    /// Returns the keys of all calls so far, in the order in which they came.
    #[must_use]
    pub fn calls(&self) -> Vec<u8> {
        self.lines().iter().map(|(key, _)| *key).collect()
    }

    /// Returns the numbers of the calls that are not answered and not dropped.
    #[must_use]
    pub fn open(&self) -> Vec<usize> {
        let lines = self.lines();
        let is_open = |at: &usize| matches!(lines[*at].1, Line::Open(_));
        (0..lines.len()).filter(is_open).collect()
    }

    /// Answers a call with its number.
    pub fn answer(&self, call: usize) {
        self.answer_with(call, Ok(call as u64));
    }

    /// Answers a call with any result.
    pub fn answer_with(&self, call: usize, result: Result<u64, MockError>) {
        let old = {
            let line = &mut self.lines()[call].1;
            std::mem::replace(line, Line::Answered(Some(result)))
        };
        if let Line::Open(Some(waker)) = old {
            waker.wake();
        }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<(u8, Line)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<u8> for MockService {
    type Response = u64;
    type Error = MockError;
    type Future = MockCall;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), MockError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, key: u8) -> MockCall {
        let mut lines = self.lines();
        lines.push((key, Line::Open(None)));
        MockCall {
            desk: self.clone(),
            at: lines.len() - 1,
        }
    }
}

/// The future of a [`MockService`].
#[derive(Debug)]
pub struct MockCall {
    desk: MockService,
    at: usize,
}

impl Future for MockCall {
    type Output = Result<u64, MockError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.desk.lines()[self.at].1 {
            Line::Open(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Line::Answered(result) => {
                Poll::Ready(result.take().expect("not polled after completion"))
            }
            Line::Dropped => unreachable!("it is not dropped"),
        }
    }
}

impl Drop for MockCall {
    fn drop(&mut self) {
        let line = &mut self.desk.lines()[self.at].1;
        if matches!(line, Line::Open(_)) {
            *line = Line::Dropped;
        }
    }
}

/// The error of a [`MockService`], which can neither be cloned nor compared.
#[derive(Debug)]
pub struct MockError;

impl fmt::Display for MockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the desk was told to fail")
    }
}

impl Error for MockError {}
