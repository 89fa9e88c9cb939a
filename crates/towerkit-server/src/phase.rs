use std::{pin::Pin, task::Context};

use tokio::sync::watch;

/// The phases of a server, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Accepts connections.
    Serving,
    /// Lets the calls in flight end.
    Draining,
    /// Drops the calls that are left.
    CutOff,
}

/// Follows the phase of the server. A server that was dropped has cut off its calls.
///
/// The server waits for all followers to be dropped: each task and each connection has one until its end.
#[derive(Debug, Clone)]
pub(crate) struct PhaseFollower(watch::Receiver<Phase>);

impl PhaseFollower {
    pub(crate) fn new(receiver: watch::Receiver<Phase>) -> Self {
        Self(receiver)
    }

    /// Returns true in the phase [`Phase::Serving`]. Cheaper than a poll of [`reached`](Self::reached).
    pub(crate) fn is_serving(&self) -> bool {
        // Followers never look at a value, so that each later phase is a change.
        matches!(self.0.has_changed(), Ok(false))
    }

    /// Waits until the server is in `phase` or a later one.
    pub(crate) async fn reached(mut self, phase: Phase) {
        // An error means that the server was dropped.
        let _ = self.0.wait_for(|current| *current >= phase).await;
    }
}

/// Tells connections that were upgraded, which no task of the server polls, that the calls are cut off.
pub(crate) struct CutOffSignal {
    state: SignalState,
}

enum SignalState {
    New(PhaseFollower),
    Waiting(Pin<Box<dyn Future<Output = ()> + Send + Sync>>),
    CutOff,
}

impl CutOffSignal {
    pub(crate) fn new(follower: PhaseFollower) -> Self {
        Self {
            state: SignalState::New(follower),
        }
    }

    /// Returns true once the calls are cut off, and registers the task until then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if let SignalState::New(follower) = &self.state {
            let reached = follower.clone().reached(Phase::CutOff);
            self.state = SignalState::Waiting(Box::pin(reached));
        }
        if let SignalState::Waiting(reached) = &mut self.state {
            if reached.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.state = SignalState::CutOff;
        }
        true
    }
}
