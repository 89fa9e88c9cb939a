use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;
use towerkit_core::Deadline;

use crate::state::Withdrawal;

/// A hedge, which waits for the readiness of its own clone of the service and is then sent.
#[pin_project(project = AttemptProject)]
pub(crate) enum Attempt<S, F, A> {
    Waiting {
        service: S,
        /// Present until the hedge is sent.
        request: Option<A>,
        number: u8,
        withdrawal: Withdrawal,
        deadline: Option<Deadline>,
    },
    Sent {
        #[pin]
        future: F,
    },
}

impl<S: Service<A>, A> Attempt<S, S::Future, A> {
    /// Returns true if the request was sent.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self, Self::Sent { .. })
    }

    /// Returns the result, or [`None`] if the hedge will never be sent.
    pub(crate) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<S::Response, S::Error>>> {
        loop {
            let future = match self.as_mut().project() {
                AttemptProject::Sent { future } => return future.poll(cx).map(Some),
                AttemptProject::Waiting {
                    service,
                    request,
                    number,
                    withdrawal,
                    deadline,
                } => {
                    let is_ready = ready!(service.poll_ready(cx)).is_ok();
                    let is_too_late = deadline.as_ref().is_some_and(Deadline::has_passed);
                    if !is_ready || is_too_late || !withdrawal.spend(*number) {
                        return Poll::Ready(None);
                    }
                    let request = request.take().expect("a hedge is sent once");
                    service.call(request)
                }
            };
            self.set(Self::Sent { future });
        }
    }
}
