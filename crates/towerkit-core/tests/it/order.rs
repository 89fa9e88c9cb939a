//! What is inside a call is gone before its policies are finished, so that a permit is free only when its work is.

use std::{
    future::{pending, ready},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tower::{Layer, Service};
use towerkit_core::{
    Admission, AsyncGuard, Call, CallEnd, Guard, LayerExt, Policy, Rejection, async_guard, guard,
    stack,
};
use towerkit_test::Task;

type Steps = Arc<Mutex<Vec<&'static str>>>;

/// Writes down when it is finished. Polls are not wrapped.
struct Finish(Steps);

impl Policy for Finish {
    type CallState = ();

    fn finish(&self, _state: (), _end: &CallEnd) {
        self.0.lock().unwrap().push("finish");
    }
}

impl<Req> Guard<Req> for Finish {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        Ok(())
    }
}

/// Writes down when it is dropped.
#[derive(Clone)]
struct Inside(Steps);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.lock().unwrap().push("drop");
    }
}

/// The inner service, whose futures and clones write down when they are dropped.
#[derive(Clone)]
struct Inner {
    steps: Steps,
    is_ready: bool,
    ends: bool,
    /// Only a clone has it: the first instance stays with the test.
    inside: Option<Inside>,
}

impl Inner {
    fn new(steps: &Steps) -> Self {
        Self {
            steps: steps.clone(),
            is_ready: true,
            ends: true,
            inside: None,
        }
    }
}

impl Service<()> for Inner {
    type Response = ();
    type Error = Rejection;
    type Future = Running;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        self.inside
            .get_or_insert_with(|| Inside(self.steps.clone()));
        if self.is_ready {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn call(&mut self, (): ()) -> Running {
        self.inside = None;
        self.steps.lock().unwrap().clear();
        Running {
            ends: self.ends,
            _inside: Inside(self.steps.clone()),
        }
    }
}

struct Running {
    ends: bool,
    _inside: Inside,
}

impl Future for Running {
    type Output = Result<(), Rejection>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.ends {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

fn taken(steps: &Steps) -> Vec<&'static str> {
    std::mem::take(&mut *steps.lock().unwrap())
}

/// A guard that makes a call wait, for ever or for one poll, and says when the wait is dropped.
struct Later {
    steps: Steps,
    ends: bool,
}

impl Policy for Later {
    type CallState = ();
    const NEEDS_END: bool = false;

    fn finish(&self, _state: (), _end: &CallEnd) {}
}

impl<Req> AsyncGuard<Req> for Later {
    type Wait = Pin<Box<dyn Future<Output = Result<(), Rejection>>>>;

    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<Admission<(), Self::Wait>, Rejection> {
        if self.ends {
            return Ok(Admission::Later(Box::pin(ready(Ok(())))));
        }
        let inside = Inside(self.steps.clone());
        Ok(Admission::Later(Box::pin(async move {
            let _inside = inside;
            pending().await
        })))
    }
}

#[test]
fn a_future_is_dropped_before_the_policies_are_finished() {
    for ends in [true, false] {
        let steps = Steps::default();
        let inner = Inner {
            ends,
            ..Inner::new(&steps)
        };
        let mut call = Task::new(guard(Finish(steps.clone())).layer(inner).call(()));
        assert_eq!(call.poll().is_ready(), ends);
        call.cancel();
        assert_eq!(taken(&steps), ["drop", "finish"], "{ends}");
    }
}

#[test]
fn a_wait_is_dropped_before_the_policies_are_finished() {
    let steps = Steps::default();
    let later = Later {
        steps: steps.clone(),
        ends: false,
    };
    let layer = stack((guard(Finish(steps.clone())), async_guard(later)));
    let mut call = Task::new(layer.plain("probe").layer(Inner::new(&steps)).call(()));
    assert!(call.poll().is_pending());
    call.cancel();
    assert_eq!(taken(&steps), ["drop", "finish"]);
}

/// The call was admitted after a wait, and waits for the readiness of the inner service.
#[test]
fn an_instance_that_gets_ready_is_dropped_before_the_policies_are_finished() {
    let steps = Steps::default();
    let inner = Inner {
        is_ready: false,
        ..Inner::new(&steps)
    };
    let later = Later {
        steps: steps.clone(),
        ends: true,
    };
    let layer = stack((guard(Finish(steps.clone())), async_guard(later)));
    let mut call = Task::new(layer.plain("probe").layer(inner).call(()));
    assert!(call.poll().is_pending());
    taken(&steps);
    call.cancel();
    assert_eq!(taken(&steps), ["drop", "finish"]);
}
