use std::{
    any::{Any, TypeId},
    fmt,
    net::SocketAddr,
};

use crate::{Call, Principal, ProtocolKind, TargetUri};

/// A call at its start without the type of its request, for functions of calls of any protocol.
#[derive(Clone, Copy)]
pub struct CallView<'a>(&'a dyn View);

impl<'a> CallView<'a> {
    /// Returns the operation; see [`Call::operation`].
    #[must_use]
    pub fn operation(&self) -> &'a str {
        self.0.operation()
    }

    /// Returns the kind of protocol of the request.
    #[must_use]
    pub fn protocol_kind(&self) -> ProtocolKind {
        self.0.protocol_kind()
    }

    /// Returns the HTTP method, if the protocol has methods.
    #[must_use]
    pub fn method(&self) -> Option<&'a str> {
        self.0.method()
    }

    /// Returns the path that the caller sent, if the protocol has paths.
    #[must_use]
    pub fn path(&self) -> Option<&'a str> {
        self.0.path()
    }

    /// Returns the address of the peer, if the server has added it to the request.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.peer()
    }

    /// Returns the value of a request header, if it exists and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.0.header(name)
    }

    /// Visits every value of a request header, in order, also values that are not text.
    pub fn header_values(&self, name: &str, visit: &mut dyn FnMut(&'a [u8])) {
        self.0.header_values(name, visit);
    }

    /// Returns the target URI of the request, if the protocol has URIs; see [`Call::target`].
    #[must_use]
    pub fn target(&self) -> Option<TargetUri<'a>> {
        self.0.target()
    }

    /// Returns the authenticated caller, if an outer layer has authenticated it.
    #[must_use]
    pub fn principal(&self) -> Option<&'a Principal> {
        self.0.principal()
    }

    /// Returns the part of the request that has this type; see [`Call::part`].
    #[must_use]
    pub fn part<T: 'static>(&self) -> Option<&'a T> {
        self.0.part(TypeId::of::<T>())?.downcast_ref()
    }
}

impl<Req> Call<'_, Req> {
    /// Returns this call without the type of its request.
    #[must_use]
    pub fn view(&self) -> CallView<'_> {
        CallView(self)
    }
}

trait View {
    fn operation(&self) -> &str;
    fn protocol_kind(&self) -> ProtocolKind;
    fn method(&self) -> Option<&str>;
    fn path(&self) -> Option<&str>;
    fn peer(&self) -> Option<SocketAddr>;
    fn header(&self, name: &str) -> Option<&str>;
    fn header_values<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&'a [u8]));
    fn target(&self) -> Option<TargetUri<'_>>;
    fn principal(&self) -> Option<&Principal>;
    fn part(&self, part: TypeId) -> Option<&dyn Any>;
}

impl<Req> View for Call<'_, Req> {
    fn operation(&self) -> &str {
        self.operation()
    }

    fn protocol_kind(&self) -> ProtocolKind {
        self.protocol_kind()
    }

    fn method(&self) -> Option<&str> {
        self.method()
    }

    fn path(&self) -> Option<&str> {
        self.path()
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.header(name)
    }

    fn header_values<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&'a [u8])) {
        self.header_values(name, visit);
    }

    fn target(&self) -> Option<TargetUri<'_>> {
        self.target()
    }

    fn principal(&self) -> Option<&Principal> {
        self.principal()
    }

    fn part(&self, part: TypeId) -> Option<&dyn Any> {
        self.part_of(part)
    }
}

impl fmt::Debug for CallView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallView")
            .field("operation", &self.operation())
            .finish_non_exhaustive()
    }
}
