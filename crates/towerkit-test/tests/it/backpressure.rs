//! T-12: layers that hold a balancer back in a wrong way.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker, ready},
};

use tower_layer::Layer;
use tower_service::Service;
use towerkit_test::{Action, BackpressureSubject, PlainClient, Probe, ProbeError, Subject, laws};

use crate::passes;

/// What is wrong with the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Sound,
    DoesNotHoldBack,
    PollsTheInnerServiceMeanwhile,
    PollsTheInnerServiceNoMore,
    WakesOneOnly,
    WakesTheFirstTaskOnly,
    ClonesDoNotRegister,
    RegistersOnce,
    Spins,
}

#[derive(Default)]
struct Gate {
    is_closed: bool,
    waiting: Vec<(usize, Waker)>,
    services: usize,
}

/// Holds services back while a gate is closed.
#[derive(Clone)]
struct Faulty {
    fault: Fault,
    gate: Arc<Mutex<Gate>>,
}

fn subject(fault: Fault) -> BackpressureSubject<Faulty> {
    let gate = Arc::new(Mutex::new(Gate::default()));
    let layer = Faulty {
        fault,
        gate: gate.clone(),
    };
    let close = gate.clone();
    let open = move || {
        let waiting = {
            let mut gate = gate.lock().unwrap();
            gate.is_closed = false;
            std::mem::take(&mut gate.waiting)
        };
        let woken = if fault == Fault::WakesOneOnly {
            1
        } else {
            waiting.len()
        };
        waiting
            .into_iter()
            .take(woken)
            .for_each(|(_, waker)| waker.wake());
    };
    let close = move || close.lock().unwrap().is_closed = true;
    BackpressureSubject::new(Subject::new(layer), close, open)
}

impl Layer<Probe> for Faulty {
    type Service = FaultyService;

    fn layer(&self, inner: Probe) -> FaultyService {
        let mut gate = self.gate.lock().unwrap();
        gate.services += 1;
        FaultyService {
            layer: self.clone(),
            number: gate.services,
            has_registered: false,
            inner,
        }
    }
}

struct FaultyService {
    layer: Faulty,
    number: usize,
    has_registered: bool,
    inner: Probe,
}

impl Clone for FaultyService {
    fn clone(&self) -> Self {
        let mut clone = self.layer.layer(self.inner.clone());
        clone.has_registered = self.has_registered;
        clone
    }
}

impl FaultyService {
    /// Waits at the gate.
    fn poll_gate(&mut self, cx: &Context<'_>) -> Poll<()> {
        let fault = self.layer.fault;
        let mut gate = self.layer.gate.lock().unwrap();
        if !gate.is_closed || fault == Fault::DoesNotHoldBack {
            return Poll::Ready(());
        }
        let known = gate
            .waiting
            .iter()
            .position(|(number, _)| *number == self.number);
        match known {
            Some(_) if fault == Fault::WakesTheFirstTaskOnly => {}
            Some(at) => gate.waiting[at].1 = cx.waker().clone(),
            None if self.has_registered && fault == Fault::RegistersOnce => {}
            None if self.number > 3 && fault == Fault::ClonesDoNotRegister => {}
            None => gate.waiting.push((self.number, cx.waker().clone())),
        }
        self.has_registered = true;
        if fault == Fault::Spins {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Service<Action> for FaultyService {
    type Response = Action;
    type Error = ProbeError;
    type Future = <Probe as Service<Action>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        let fault = self.layer.fault;
        if fault == Fault::PollsTheInnerServiceMeanwhile {
            let _ = Service::<Action>::poll_ready(&mut self.inner, cx);
        }
        ready!(self.poll_gate(cx));
        if fault == Fault::PollsTheInnerServiceNoMore {
            return Poll::Ready(Ok(()));
        }
        Service::<Action>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, act: Action) -> Self::Future {
        self.inner.call(act)
    }
}

#[test]
fn a_layer_that_loses_a_wake_up_is_rejected() {
    for fault in [
        Fault::Sound,
        Fault::DoesNotHoldBack,
        Fault::PollsTheInnerServiceMeanwhile,
        Fault::PollsTheInnerServiceNoMore,
        Fault::WakesOneOnly,
        Fault::WakesTheFirstTaskOnly,
        Fault::ClonesDoNotRegister,
        Fault::RegistersOnce,
        Fault::Spins,
    ] {
        let law = || laws::backpressure_loses_no_wake_up::<PlainClient, _>(|| subject(fault));
        assert_eq!(passes(law), fault == Fault::Sound, "{fault:?}");
    }
}
