use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::sync::oneshot;
use tower::{BoxError, Service};

/// What a call does when it reaches the callee.
pub(crate) enum Script {
    Succeed,
    Fail,
    Panic,
    /// Pending until it is told whether to succeed.
    Until(oneshot::Receiver<bool>),
}

/// A service that follows the script of each call, and counts the calls that reach it.
#[derive(Clone, Default)]
pub(crate) struct Callee(Arc<AtomicU32>);

impl Callee {
    pub(crate) fn reached(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Service<Script> for Callee {
    type Response = ();
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, script: Script) -> Self::Future {
        let reached = self.0.clone();
        // A breaker that wraps futures makes the future before it decides, so that only a poll counts.
        Box::pin(async move {
            reached.fetch_add(1, Ordering::Relaxed);
            let good = match script {
                Script::Succeed => true,
                Script::Fail => false,
                Script::Panic => panic!("as the script says"),
                Script::Until(told) => told.await?,
            };
            if good {
                Ok(())
            } else {
                Err("as the script says".into())
            }
        })
    }
}

/// A breaker in front of a callee.
pub(crate) struct Subject<S> {
    pub(crate) service: S,
    pub(crate) callee: Callee,
}

/// A call that has not ended.
pub(crate) struct Pending<S: Service<Script>> {
    call: Pin<Box<S::Future>>,
    tell: Option<oneshot::Sender<bool>>,
}

impl<S: Service<Script>> Subject<S> {
    pub(crate) fn new(layer: impl FnOnce(Callee) -> S) -> Self {
        let callee = Callee::default();
        Self {
            service: layer(callee.clone()),
            callee,
        }
    }

    /// Returns another handle on the same service.
    pub(crate) fn another(&self) -> Self
    where
        S: Clone,
    {
        Self {
            service: self.service.clone(),
            callee: self.callee.clone(),
        }
    }

    /// Asks whether the service is ready.
    pub(crate) fn poll_ready(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.service.poll_ready(&mut cx), Poll::Ready(Ok(())))
    }

    /// Makes a call; whether it reached the callee.
    pub(crate) fn call(&mut self, script: Script) -> bool {
        let before = self.callee.reached();
        let Some(mut call) = self.start(script) else {
            return false;
        };
        let _ = catch_unwind(AssertUnwindSafe(|| poll(&mut call)));
        self.callee.reached() > before
    }

    /// Starts a call that ends when it is told to; whether it reached the callee.
    pub(crate) fn pend(&mut self) -> (bool, Pending<S>) {
        let before = self.callee.reached();
        let (tell, told) = oneshot::channel();
        let mut call = self.start(Script::Until(told)).expect("ready to answer");
        let _ = poll(&mut call);
        let tell = Some(tell);
        (self.callee.reached() > before, Pending { call, tell })
    }

    /// Fails until the breaker rejects; how many failures that took, `most` at most.
    pub(crate) fn fail_until_open(&mut self, most: u32) -> u32 {
        (0..most).find(|_| !self.call(Script::Fail)).unwrap_or(most)
    }

    fn start(&mut self, script: Script) -> Option<Pin<Box<S::Future>>> {
        self.poll_ready()
            .then(|| Box::pin(self.service.call(script)))
    }
}

impl<S: Service<Script>> Pending<S> {
    /// Ends the call.
    pub(crate) fn end(mut self, good: bool) {
        let tell = self.tell.take().expect("told once");
        let _ = tell.send(good);
        let _ = poll(&mut self.call);
    }
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}
