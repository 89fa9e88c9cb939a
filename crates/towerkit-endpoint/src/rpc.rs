use std::{
    any::{Any, TypeId},
    future::{Ready, ready},
    net::SocketAddr,
};

use http::{HeaderName, HeaderValue};
use towerkit_core::{
    CallEnd, Deadline, DescribeRequest, DrainResponse, ErrorCode, InFlightCall, InspectResult,
    LayerExt, Outcome, PolicyShape, Principal, Protocol, ProtocolKind, Pushback, RejectCall,
    Rejection, RejectionReason, ReplayRequest, ShareResponse, Status, TrackResponse,
};
use towerkit_http::PeerAddress;

use crate::{IntoRpcError, Request, UnknownMethod};

/// Reads calls of endpoints: the operation, the headers and the deadline of a [`Request`], and the outcome by the code of the error.
///
/// An error of the service is not a failure of the upstream unless its code says so: `NotFound` counts as a client error, and does
/// not open a circuit breaker. A call ends when its future resolves.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Rpc;

impl Rpc {
    /// Makes the protocol.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

/// Adds the protocol of endpoints to every layer of towerkit.
pub trait RpcExt: LayerExt {
    /// Reads calls as those of an endpoint; see [`Rpc`].
    #[must_use]
    fn rpc(self) -> Self::With<Rpc> {
        self.protocol(Rpc::new())
    }
}

impl<L: LayerExt> RpcExt for L {}

impl<T> DescribeRequest<Request<T>> for Rpc {
    #[inline(always)]
    fn kind(&self, request: &Request<T>) -> ProtocolKind {
        request.protocol
    }

    #[inline(always)]
    fn operation<'a>(&'a self, request: &'a Request<T>, _kind: ProtocolKind) -> &'a str {
        request.operation
    }

    fn is_routed(&self, request: &Request<T>, _kind: ProtocolKind) -> bool {
        request.extensions.get::<UnknownMethod>().is_none()
    }

    /// Returns the name of an unknown method, which is not the operation.
    fn path<'a>(&self, request: &'a Request<T>) -> Option<&'a str> {
        let unknown: Option<&UnknownMethod> = request.extensions.get();
        unknown.map(|UnknownMethod(name)| &**name)
    }

    fn peer(&self, request: &Request<T>) -> Option<SocketAddr> {
        PeerAddress::find(&request.extensions)
    }

    fn part<'a>(&self, request: &'a Request<T>, part: TypeId) -> Option<&'a dyn Any> {
        let parts: [&dyn Any; 2] = [&request.headers, &request.extensions];
        parts.into_iter().find(|known| (*known).type_id() == part)
    }

    #[inline(always)]
    fn header<'a>(&self, request: &'a Request<T>, name: &str) -> Option<&'a str> {
        request.headers.get(name)?.to_str().ok()
    }

    fn header_values<'a>(
        &self,
        request: &'a Request<T>,
        name: &str,
        visit: &mut dyn FnMut(&'a [u8]),
    ) {
        for value in request.headers.get_all(name) {
            visit(value.as_bytes());
        }
    }

    fn set_header(&self, request: &mut Request<T>, name: &'static str, value: &str) {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            request.headers.insert(name, value);
        }
    }

    fn remove_header(&self, request: &mut Request<T>, name: &'static str) {
        request.headers.remove(name);
    }

    fn remove_headers(&self, request: &mut Request<T>, is_removed: &dyn Fn(&str) -> bool) {
        towerkit_http::remove_headers(&mut request.headers, is_removed);
    }

    fn principal<'a>(&self, request: &'a Request<T>) -> Option<&'a Principal> {
        request.extensions.get()
    }

    fn set_principal(&self, request: &mut Request<T>, principal: Principal) {
        request.extensions.insert(principal);
    }

    fn deadline(&self, request: &Request<T>) -> Option<Deadline> {
        let own = request.extensions.get().cloned();
        own.or_else(Deadline::current)
    }

    fn set_deadline(&self, request: &mut Request<T>, deadline: Deadline) {
        request.extensions.insert(deadline);
    }

    fn rejection_status(&self, _kind: ProtocolKind, reason: RejectionReason) -> Option<Status> {
        Some(ErrorCode::from(reason).status())
    }
}

/// One request and response of [`Rpc`].
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct RpcExchange(());

impl<T> Protocol<Request<T>> for Rpc {
    type Exchange = RpcExchange;

    #[inline(always)]
    fn open(&self, _request: &Request<T>, _kind: ProtocolKind) -> RpcExchange {
        RpcExchange(())
    }
}

/// Returns the end of a call: success, or that of the code of the error.
#[inline(always)]
fn end_of<U, E: IntoRpcError>(result: &Result<U, E>) -> CallEnd {
    match result {
        Ok(_) => CallEnd::new(Outcome::Success).with_status(Some(Status::Grpc(0))),
        Err(error) => end_of_error(error),
    }
}

#[cold]
fn end_of_error(error: &impl IntoRpcError) -> CallEnd {
    if let Some(rejection) = error.rejection() {
        let reason = rejection.reason();
        let status = ErrorCode::from(reason).status();
        return CallEnd::rejected_for(reason).with_status(Some(status));
    }
    let code = error.code();
    CallEnd::new(code.outcome()).with_status(Some(code.status()))
}

impl<U, E: IntoRpcError> TrackResponse<U, E> for RpcExchange {
    type Response<R: PolicyShape> = U;

    #[inline(always)]
    fn track<R: PolicyShape>(
        &self,
        result: Result<U, E>,
        in_flight_call: &mut InFlightCall<R>,
    ) -> Result<U, E> {
        in_flight_call.finish_with(|| end_of(&result));
        result
    }
}

impl<U, E: IntoRpcError> RejectCall<U, E> for RpcExchange {
    #[inline(always)]
    fn reject<R: PolicyShape>(&self, rejection: Rejection) -> Result<U, E> {
        Err(E::from_rejection(rejection))
    }
}

impl<U, E: IntoRpcError> InspectResult<U, E> for RpcExchange {
    const DETECTS_UNSENT: bool = true;

    #[inline(always)]
    fn inspect(&self, result: &Result<U, E>) -> CallEnd {
        end_of(result)
    }

    fn pushback(&self, result: &Result<U, E>) -> Option<Pushback> {
        let error = result.as_ref().err()?;
        error.retry_after().map(Pushback::After)
    }

    fn is_unsent(&self, result: &Result<U, E>) -> bool {
        result.as_ref().is_err_and(IntoRpcError::is_unsent)
    }
}

/// Drops a response at once.
impl<U> DrainResponse<U> for RpcExchange {
    type Drain = Ready<()>;

    #[inline(always)]
    fn drain(&self, _response: U) -> Ready<()> {
        ready(())
    }
}

impl<T: Clone> ReplayRequest<Request<T>> for Rpc {
    type Recorded = Request<T>;

    #[inline(always)]
    fn is_idempotent(&self, _request: &Request<T>) -> Option<bool> {
        None
    }

    #[inline(always)]
    fn record(&self, request: Request<T>, _max_bytes: usize) -> (Request<T>, Option<Request<T>>) {
        (request.clone(), Some(request))
    }

    #[inline(always)]
    fn replay(&self, recorded: &Request<T>) -> Option<Request<T>> {
        Some(recorded.clone())
    }
}

impl<U, E> ShareResponse<U, E> for RpcExchange
where
    U: Clone + Send + Sync + 'static,
    E: IntoRpcError,
{
    type Response = U;
    type Shared = U;
    type Collect = Ready<(Result<U, E>, CallEnd)>;

    #[inline(always)]
    fn pass(&self, response: U) -> U {
        response
    }

    #[inline(always)]
    fn collect(&self, result: Result<U, E>, _limit: usize) -> Self::Collect {
        let end = end_of(&result);
        ready((result, end))
    }

    #[inline(always)]
    fn share(&self, response: &U) -> Option<U> {
        Some(response.clone())
    }

    #[inline(always)]
    fn copy(&self, shared: &U) -> U {
        shared.clone()
    }

    #[inline(always)]
    fn size(&self, _shared: &U) -> usize {
        size_of::<U>()
    }
}
