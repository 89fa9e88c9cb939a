use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

/// Calls a service by shared reference, as a test or a caller of an endpoint does.
pub trait EndpointExt<Req>: Service<Req> + Clone {
    /// Calls a clone of this service once that is ready.
    fn invoke(&self, request: Req) -> Invoke<Self, Req> {
        Invoke {
            state: State::Readying(Some((self.clone(), request))),
        }
    }
}

impl<S: Service<Req> + Clone, Req> EndpointExt<Req> for S {}

/// The future of [`EndpointExt::invoke`].
#[pin_project]
pub struct Invoke<S: Service<Req>, Req> {
    #[pin]
    state: State<S, Req>,
}

#[pin_project(project = StateProj)]
enum State<S: Service<Req>, Req> {
    Readying(Option<(S, Req)>),
    Running(#[pin] S::Future),
}

impl<S: Service<Req>, Req> Future for Invoke<S, Req> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Running(call) => return call.poll(cx),
                StateProj::Readying(parts) => {
                    let (service, _) = parts.as_mut().expect("there until called");
                    ready!(service.poll_ready(cx))?;
                    let (mut service, request) = parts.take().expect("there until called");
                    let call = service.call(request);
                    state.set(State::Running(call));
                }
            }
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for Invoke<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invoke").finish_non_exhaustive()
    }
}
