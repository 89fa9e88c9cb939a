use std::{
    any::{Any, TypeId},
    fmt,
    net::SocketAddr,
};

use crate::{CallEnd, Clock, Deadline, RejectionReason, Status, clock::Reading};

/// What a request can say of itself, whatever its type.
///
/// Object safe, so that one `impl<Req> Guard<Req>` serves every protocol.
pub trait DescribeRequest<Req> {
    /// Returns the protocol that this request speaks. Asked once a call; the other questions get the answer back.
    fn kind(&self, _request: &Req) -> ProtocolKind {
        ProtocolKind::Plain
    }

    /// Returns the operation: a route template, a method, a given name; never a raw path.
    fn operation<'a>(&'a self, request: &'a Req, kind: ProtocolKind) -> &'a str;

    /// Whether the operation names the request's own route; false where a router matched none, so that only the path tells it apart.
    fn is_routed(&self, _request: &Req, _kind: ProtocolKind) -> bool {
        true
    }

    /// Returns the HTTP method, where there is one.
    fn method<'a>(&self, _request: &'a Req) -> Option<&'a str> {
        None
    }

    /// Returns the path that the caller sent, where the protocol has one. It may be any text of any length.
    fn path<'a>(&self, _request: &'a Req) -> Option<&'a str> {
        None
    }

    /// Returns the URI that the request asks for, where the protocol has one.
    fn target<'a>(&self, _request: &'a Req) -> Option<TargetUri<'a>> {
        None
    }

    /// Returns the address at the other end of the connection, where the server has attached it.
    fn peer(&self, _request: &Req) -> Option<SocketAddr> {
        None
    }

    /// Returns the part of the request that has this type, such as its header map or its extensions, where the protocol has one.
    fn part<'a>(&self, _request: &'a Req, _part: TypeId) -> Option<&'a dyn Any> {
        None
    }

    /// Returns the value of a request field such as an HTTP header, if it is there and is text.
    fn header<'a>(&self, _request: &'a Req, _name: &str) -> Option<&'a str> {
        None
    }

    /// Visits every value of a request field, in order, text or not.
    fn header_values<'a>(&self, _request: &'a Req, _name: &str, _visit: &mut dyn FnMut(&'a [u8])) {}

    /// Sets a field of the request, where the protocol has fields and the value fits in one.
    fn set_header(&self, _request: &mut Req, _name: &'static str, _value: &str) {}

    /// Takes all values of a field off the request.
    fn remove_header(&self, _request: &mut Req, _name: &'static str) {}

    /// Returns the point after which nobody waits for the answer, where the request carries one.
    fn deadline(&self, _request: &Req) -> Option<Deadline> {
        None
    }

    /// Makes the request carry a deadline, where the protocol has a place for it.
    fn set_deadline(&self, _request: &mut Req, _deadline: Deadline) {}

    /// Returns the code with which this protocol answers a rejection.
    fn rejection_status(&self, _kind: ProtocolKind, _reason: RejectionReason) -> Option<Status> {
        None
    }

    /// Returns the length of the body with which this protocol answers a rejection of the request.
    fn rejection_bytes(
        &self,
        _request: &Req,
        _kind: ProtocolKind,
        _reason: RejectionReason,
    ) -> u64 {
        0
    }
}

/// The parts of the URI that a request asks for ([RFC 9110, section 7.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.1)), as they
/// stand in the request: a server often sees neither scheme nor authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TargetUri<'a> {
    /// The scheme, such as `https`.
    pub scheme: Option<&'a str>,
    /// The host, with a port or user information if there is any.
    pub authority: Option<&'a str>,
    /// The path.
    pub path: &'a str,
    /// The query, without its question mark.
    pub query: Option<&'a str>,
}

impl<'a> TargetUri<'a> {
    /// Makes a URI of a path alone.
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

/// The protocols that an observer can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolKind {
    /// A service without a wire protocol.
    Plain,
    /// HTTP that is not gRPC.
    Http,
    /// gRPC.
    Grpc,
}

/// A request on its way in, as the policies of a policy stack see it.
pub struct Call<'a, Req> {
    /// The request itself.
    pub request: &'a mut Req,
    protocol: &'a dyn DescribeRequest<Req>,
    kind: ProtocolKind,
    reading: Reading,
}

impl<'a, Req> Call<'a, Req> {
    /// Opens a request to the policies of a policy stack, read by `protocol`.
    #[inline(always)]
    pub fn new(request: &'a mut Req, protocol: &'a dyn DescribeRequest<Req>) -> Self {
        let kind = protocol.kind(request);
        Self {
            request,
            protocol,
            kind,
            reading: Reading::default(),
        }
    }

    /// Returns the operation: a route template, a method, a given name; never a raw path.
    #[inline(always)]
    #[must_use]
    pub fn operation(&self) -> &str {
        self.protocol.operation(self.request, self.kind)
    }

    /// Returns the protocol that this request speaks.
    #[inline(always)]
    #[must_use]
    pub fn protocol_kind(&self) -> ProtocolKind {
        self.kind
    }

    /// Returns the HTTP method, where there is one.
    #[inline(always)]
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.protocol.method(self.request)
    }

    /// Whether the operation names the request's own route; false where a router matched none, so that only the path tells it apart.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        self.protocol.is_routed(self.request, self.kind)
    }

    /// Returns the path that the caller sent, where the protocol has one. It may be any text of any length.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.protocol.path(self.request)
    }

    /// Returns the URI that the request asks for, where the protocol has one. It may be any text of any length, and hold secrets.
    #[must_use]
    pub fn target(&self) -> Option<TargetUri<'_>> {
        self.protocol.target(self.request)
    }

    /// Returns the address at the other end of the connection, where the server has attached it.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.protocol.peer(self.request)
    }

    /// Returns the part of the request that has this type, where the protocol has one: over HTTP `http::HeaderMap`,
    /// `http::Extensions`, `http::Method` and `http::Uri`.
    #[must_use]
    pub fn part<T: 'static>(&self) -> Option<&T> {
        self.part_of(TypeId::of::<T>())?.downcast_ref()
    }

    /// Returns the value of a request field such as an HTTP header, if it is there and is text.
    #[inline(always)]
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.protocol.header(self.request, name)
    }

    /// Visits every value of a request field, in order, text or not.
    #[inline(always)]
    pub fn header_values<'b>(&'b self, name: &str, visit: &mut dyn FnMut(&'b [u8])) {
        self.protocol.header_values(self.request, name, visit);
    }

    /// Sets a field of the request, where the protocol has fields and the value fits in one.
    #[inline(always)]
    pub fn set_header(&mut self, name: &'static str, value: &str) {
        self.protocol.set_header(self.request, name, value);
    }

    /// Takes all values of a field off the request.
    #[inline(always)]
    pub fn remove_header(&mut self, name: &'static str) {
        self.protocol.remove_header(self.request, name);
    }

    /// Returns the point after which nobody waits for the answer, where the request carries one.
    #[inline(always)]
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.protocol.deadline(self.request)
    }

    /// Makes the request carry a deadline, where the protocol has a place for it.
    #[inline(always)]
    pub fn set_deadline(&mut self, deadline: Deadline) {
        self.protocol.set_deadline(self.request, deadline);
    }

    /// Returns the time of the start on `clock`: one reading for all policies that start here.
    #[inline(always)]
    pub fn now(&mut self, clock: &Clock) -> u64 {
        self.reading = self.reading.of(clock);
        self.reading.nanos()
    }

    pub(crate) fn part_of(&self, part: TypeId) -> Option<&dyn Any> {
        self.protocol.part(self.request, part)
    }

    /// The end of this call, were it rejected for `reason`.
    pub(crate) fn rejected(&self, reason: RejectionReason) -> CallEnd {
        let Self { request, kind, .. } = self;
        let status = self.protocol.rejection_status(*kind, reason);
        let bytes = self.protocol.rejection_bytes(request, *kind, reason);
        CallEnd::rejected_for(reason)
            .with_status(status)
            .with_bytes(bytes)
    }
}

impl<Req> fmt::Debug for Call<'_, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("operation", &self.operation())
            .finish_non_exhaustive()
    }
}
