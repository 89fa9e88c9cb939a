use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use crate::{IntoRpcError, Request, RpcError};

/// Calls an endpoint by shared reference, as a test does, or an endpoint that uses another one.
pub trait EndpointExt<T>: Service<Request<T>> + Clone {
    /// Calls a clone of this endpoint once that is ready. A message is a request, too.
    fn invoke(&self, request: impl Into<Request<T>>) -> Invoke<Self, T> {
        Invoke {
            state: State::Readying(Some((self.clone(), request.into()))),
        }
    }
}

impl<S: Service<Request<T>> + Clone, T> EndpointExt<T> for S {}

/// The future of [`EndpointExt::invoke`].
#[pin_project]
pub struct Invoke<S: Service<Request<T>>, T> {
    #[pin]
    state: State<S, T>,
}

#[pin_project(project = StateProj)]
enum State<S: Service<Request<T>>, T> {
    Readying(Option<(S, Request<T>)>),
    Running(#[pin] S::Future),
}

impl<S: Service<Request<T>>, T> Future for Invoke<S, T> {
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

impl<S: Service<Request<T>>, T> fmt::Debug for Invoke<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invoke").finish_non_exhaustive()
    }
}

/// Calls an endpoint for a transport: any error becomes an [`RpcError`], and a panic an [internal](RpcError::internal) one, so that
/// the connection and the other calls on it go on.
///
/// The policies around the endpoint have recorded the panic by then.
#[doc(hidden)]
pub fn serve_call<S, T>(endpoint: S, request: Request<T>) -> ServeCall<S, T>
where
    S: Service<Request<T>>,
{
    ServeCall {
        call: Some(Invoke {
            state: State::Readying(Some((endpoint, request))),
        }),
    }
}

/// The future of [`serve_call`].
#[doc(hidden)]
#[pin_project]
pub struct ServeCall<S: Service<Request<T>>, T> {
    #[pin]
    call: Option<Invoke<S, T>>,
}

impl<S, T> Future for ServeCall<S, T>
where
    S: Service<Request<T>, Error: IntoRpcError>,
{
    type Output = Result<S::Response, RpcError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut call = self.project().call;
        let poll = || {
            let running = call.as_mut().as_pin_mut();
            Ok(running.expect("not polled after its end").poll(cx))
        };
        match catch_panic(poll) {
            Ok(polled) => polled.map_err(IntoRpcError::into_rpc_error),
            Err(panic) => {
                call.set(None);
                Poll::Ready(Err(panic))
            }
        }
    }
}

/// Runs code of a user for a transport. A panic becomes an [internal](RpcError::internal) error.
#[doc(hidden)]
pub fn catch_panic<R>(run: impl FnOnce() -> Result<R, RpcError>) -> Result<R, RpcError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(RpcError::internal()))
}

impl<S: Service<Request<T>>, T> fmt::Debug for ServeCall<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeCall").finish_non_exhaustive()
    }
}
