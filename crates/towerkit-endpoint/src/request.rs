use http::{Extensions, HeaderMap};
use towerkit_core::ProtocolKind;

/// A message for an endpoint, with its context: the operation, the headers and the extensions.
///
/// A transport makes it from its own kind of message. The type of the headers and of the extensions is that of the crate [`http`],
/// whatever the wire: over gRPC they are the metadata, over a message broker the headers of the message.
///
/// ```
/// use towerkit_endpoint::Request;
///
/// let mut request = Request::new("sum", (1, 2));
/// request.headers.insert("x-tenant", "blue".parse()?);
/// let request = request.map(|(a, b)| a + b);
/// assert_eq!((request.operation, request.message), ("sum", 3));
/// assert_eq!(request.headers["x-tenant"], "blue");
/// # Ok::<_, http::header::InvalidHeaderValue>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request<T> {
    /// The name of the operation in logs, metrics and traces. It is one of a few, never made from input.
    pub operation: &'static str,
    /// The message.
    pub message: T,
    /// The headers that came with the message, or that a client sends with it.
    pub headers: HeaderMap,
    /// Values that layers and transports add: the [`Deadline`](towerkit_core::Deadline), the address of the peer, the caller's
    /// identity.
    pub extensions: Extensions,
    /// The wire, for observers that name calls by it; [`Plain`](ProtocolKind::Plain) unless a transport sets it.
    pub protocol: ProtocolKind,
}

/// The name of a method that the server does not have, in the extensions of a call over JSON-RPC. The caller chose it.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct UnknownMethod(pub Box<str>);

impl<T> Request<T> {
    /// Makes a request without headers and extensions.
    #[must_use]
    pub fn new(operation: &'static str, message: T) -> Self {
        Self {
            operation,
            message,
            headers: HeaderMap::new(),
            extensions: Extensions::new(),
            protocol: ProtocolKind::Plain,
        }
    }

    /// Converts the message, and keeps the context.
    #[must_use]
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Request<U> {
        Request {
            operation: self.operation,
            message: convert(self.message),
            headers: self.headers,
            extensions: self.extensions,
            protocol: self.protocol,
        }
    }
}

/// A request without a context, for a caller that calls an endpoint directly. Its operation is `unnamed`.
impl<T> From<T> for Request<T> {
    fn from(message: T) -> Self {
        Self::new("unnamed", message)
    }
}
