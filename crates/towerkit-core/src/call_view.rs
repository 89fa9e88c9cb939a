use std::{
    any::{Any, TypeId},
    fmt,
    net::SocketAddr,
};

use crate::{Call, ProtocolKind};

/// A call at its start without the type of its request, for functions of calls of any protocol.
#[derive(Clone, Copy)]
pub struct CallView<'a>(&'a dyn View);

impl CallView<'_> {
    /// Returns the operation; see [`Call::operation`].
    #[must_use]
    pub fn operation(&self) -> &str {
        self.0.operation()
    }

    /// Returns the kind of protocol of the request.
    #[must_use]
    pub fn protocol_kind(&self) -> ProtocolKind {
        self.0.protocol_kind()
    }

    /// Returns the HTTP method, if the protocol has methods.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.0.method()
    }

    /// Returns the path that the caller sent, if the protocol has paths.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.0.path()
    }

    /// Returns the address of the peer, if the server has added it to the request.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.peer()
    }

    /// Returns the value of a request header, if it exists and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.header(name)
    }

    /// Returns the part of the request that has this type; see [`Call::part`].
    #[must_use]
    pub fn part<T: 'static>(&self) -> Option<&T> {
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
