use std::{
    any::{Any, TypeId},
    fmt,
    net::SocketAddr,
};

use crate::{CallEnd, Clock, Deadline, Principal, RejectionReason, Status, clock::Reading};

/// Reads the properties of a request that policies ask for, and sets its headers.
///
/// [`Protocol`](crate::Protocol) requires it. It is object safe, so that one `impl<Req> Guard<Req>` works with every protocol.
pub trait DescribeRequest<Req> {
    /// Returns the kind of protocol of this request. Called once per call; other methods get the result.
    fn kind(&self, _request: &Req) -> ProtocolKind {
        ProtocolKind::Plain
    }

    /// Returns the operation: a route template, a method, a given name; never a raw path.
    fn operation<'a>(&'a self, request: &'a Req, kind: ProtocolKind) -> &'a str;

    /// Returns false if a router matched no route, so that only the path identifies the request.
    fn is_routed(&self, _request: &Req, _kind: ProtocolKind) -> bool {
        true
    }

    /// Returns the HTTP method, if the protocol has methods.
    fn method<'a>(&self, _request: &'a Req) -> Option<&'a str> {
        None
    }

    /// Returns the path that the caller sent, if the protocol has paths. It is untrusted text of any length.
    fn path<'a>(&self, _request: &'a Req) -> Option<&'a str> {
        None
    }

    /// Returns the target URI of the request, if the protocol has URIs.
    fn target<'a>(&self, _request: &'a Req) -> Option<TargetUri<'a>> {
        None
    }

    /// Returns the address of the peer, if the server has added it to the request.
    fn peer(&self, _request: &Req) -> Option<SocketAddr> {
        None
    }

    /// Returns the part of the request that has this type, such as its header map or its extensions, if there is one.
    fn part<'a>(&self, _request: &'a Req, _part: TypeId) -> Option<&'a dyn Any> {
        None
    }

    /// Returns the value of a request header, if it exists and is text.
    fn header<'a>(&self, _request: &'a Req, _name: &str) -> Option<&'a str> {
        None
    }

    /// Visits every value of a request header, in order, also values that are not text.
    fn header_values<'a>(&self, _request: &'a Req, _name: &str, _visit: &mut dyn FnMut(&'a [u8])) {}

    /// Sets a request header, if the protocol has headers and the value is valid in one.
    fn set_header(&self, _request: &mut Req, _name: &'static str, _value: &str) {}

    /// Removes all values of a request header.
    fn remove_header(&self, _request: &mut Req, _name: &'static str) {}

    /// Removes the request headers whose names `is_removed` selects, with all their values.
    fn remove_headers(&self, _request: &mut Req, _is_removed: &dyn Fn(&str) -> bool) {}

    /// Returns the principal of the request, if an outer layer has authenticated its caller.
    fn principal<'a>(&self, _request: &'a Req) -> Option<&'a Principal> {
        None
    }

    /// Sets the principal of the request, if the protocol has a place for it.
    fn set_principal(&self, _request: &mut Req, _principal: Principal) {}

    /// Returns the deadline of the request, if it has one.
    fn deadline(&self, _request: &Req) -> Option<Deadline> {
        None
    }

    /// Sets the deadline of the request, if the protocol has a place for it.
    fn set_deadline(&self, _request: &mut Req, _deadline: Deadline) {}

    /// Returns the status of the response to a rejected call, if the protocol makes a response.
    fn rejection_status(&self, _kind: ProtocolKind, _reason: RejectionReason) -> Option<Status> {
        None
    }

    /// Returns the length of the body of the response to a rejected call.
    fn rejection_bytes(
        &self,
        _request: &Req,
        _kind: ProtocolKind,
        _reason: RejectionReason,
    ) -> u64 {
        0
    }
}

/// The target URI of a request ([RFC 9110, section 7.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.1)), in its parts.
///
/// The parts are those in the request itself: a server often sees neither scheme nor authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TargetUri<'a> {
    /// The scheme, such as `https`.
    pub scheme: Option<&'a str>,
    /// The host, with the port and the user information, if there are any.
    pub authority: Option<&'a str>,
    /// The path.
    pub path: &'a str,
    /// The query, without its question mark.
    pub query: Option<&'a str>,
}

impl<'a> TargetUri<'a> {
    /// Makes a URI that has only a path.
    #[must_use]
    pub const fn new(path: &'a str) -> Self {
        Self {
            scheme: None,
            authority: None,
            path,
            query: None,
        }
    }
}

/// The kinds of protocols that observers distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolKind {
    /// A service without a wire protocol.
    Plain,
    /// HTTP that is not gRPC.
    Http,
    /// gRPC.
    Grpc,
    /// JSON-RPC: one call, of which an HTTP request may have several.
    JsonRpc,
}

/// A call at its start, as policies see it: the request, and its properties as the [`Protocol`](crate::Protocol) reads them.
pub struct Call<'a, Req> {
    /// The request itself.
    pub request: &'a mut Req,
    protocol: &'a dyn DescribeRequest<Req>,
    kind: ProtocolKind,
    reading: Reading,
    /// The end of the call if it is rejected, which all policies that have started share.
    rejected: Option<CallEnd>,
}

impl<'a, Req> Call<'a, Req> {
    /// Makes a call of a request that `protocol` reads.
    #[inline(always)]
    pub fn new(request: &'a mut Req, protocol: &'a dyn DescribeRequest<Req>) -> Self {
        let kind = protocol.kind(request);
        Self {
            request,
            protocol,
            kind,
            reading: Reading::default(),
            rejected: None,
        }
    }

    /// Returns the operation: a route template, a method, a given name; never a raw path.
    #[inline(always)]
    #[must_use]
    pub fn operation(&self) -> &str {
        self.protocol.operation(self.request, self.kind)
    }

    /// Returns the kind of protocol of the request.
    #[inline(always)]
    #[must_use]
    pub fn protocol_kind(&self) -> ProtocolKind {
        self.kind
    }

    /// Returns the HTTP method, if the protocol has methods.
    #[inline(always)]
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.protocol.method(self.request)
    }

    /// Returns false if a router matched no route, so that only the path identifies the request.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        self.protocol.is_routed(self.request, self.kind)
    }

    /// Returns the path that the caller sent, if the protocol has paths. It is untrusted text of any length.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.protocol.path(self.request)
    }

    /// Returns the target URI of the request, if the protocol has URIs. It is untrusted text of any length, and may contain
    /// secrets.
    #[must_use]
    pub fn target(&self) -> Option<TargetUri<'_>> {
        self.protocol.target(self.request)
    }

    /// Returns the address of the peer, if the server has added it to the request.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.protocol.peer(self.request)
    }

    /// Returns the part of the request that has this type, if there is one: over HTTP `http::HeaderMap`, `http::Extensions`,
    /// `http::Method` or `http::Uri`.
    #[must_use]
    pub fn part<T: 'static>(&self) -> Option<&T> {
        self.part_of(TypeId::of::<T>())?.downcast_ref()
    }

    /// Returns the value of a request header, if it exists and is text.
    #[inline(always)]
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.protocol.header(self.request, name)
    }

    /// Visits every value of a request header, in order, also values that are not text.
    #[inline(always)]
    pub fn header_values<'b>(&'b self, name: &str, visit: &mut dyn FnMut(&'b [u8])) {
        self.protocol.header_values(self.request, name, visit);
    }

    /// Sets a request header, if the protocol has headers and the value is valid in one.
    #[inline(always)]
    pub fn set_header(&mut self, name: &'static str, value: &str) {
        self.protocol.set_header(self.request, name, value);
    }

    /// Removes all values of a request header.
    #[inline(always)]
    pub fn remove_header(&mut self, name: &'static str) {
        self.protocol.remove_header(self.request, name);
    }

    /// Removes the request headers whose names `is_removed` selects, with all their values. Names are in lower case.
    #[inline(always)]
    pub fn remove_headers(&mut self, is_removed: &dyn Fn(&str) -> bool) {
        self.protocol.remove_headers(self.request, is_removed);
    }

    /// Returns the authenticated caller, if an outer layer has authenticated it.
    ///
    /// It is in the extensions of the request over HTTP and gRPC, and in those of an endpoint's request.
    #[inline(always)]
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.protocol.principal(self.request)
    }

    /// Sets the authenticated caller, if the protocol has a place for it.
    #[inline(always)]
    pub fn set_principal(&mut self, principal: Principal) {
        self.protocol.set_principal(self.request, principal);
    }

    /// Returns the deadline of the request, if it has one.
    #[inline(always)]
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.protocol.deadline(self.request)
    }

    /// Sets the deadline of the request, if the protocol has a place for it.
    #[inline(always)]
    pub fn set_deadline(&mut self, deadline: Deadline) {
        self.protocol.set_deadline(self.request, deadline);
    }

    /// Returns the time of the start on `clock`. Policies with clocks of the same origin share one reading.
    #[inline(always)]
    pub fn now(&mut self, clock: &Clock) -> u64 {
        self.reading = self.reading.of(clock);
        self.reading.nanos()
    }

    pub(crate) fn part_of(&self, part: TypeId) -> Option<&dyn Any> {
        self.protocol.part(self.request, part)
    }

    /// Returns the end of this call, which was rejected for `reason`. Makes it only once, so that the policies share its clock reading.
    pub(crate) fn rejected(&mut self, reason: RejectionReason) -> &CallEnd {
        let (request, protocol, kind) = (&*self.request, self.protocol, self.kind);
        self.rejected.get_or_insert_with(|| {
            CallEnd::rejected_for(reason)
                .with_status(protocol.rejection_status(kind, reason))
                .with_bytes(protocol.rejection_bytes(request, kind, reason))
        })
    }
}

impl<Req> fmt::Debug for Call<'_, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("operation", &self.operation())
            .finish_non_exhaustive()
    }
}
