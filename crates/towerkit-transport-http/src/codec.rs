//! The four steps of a transport: a request and a response, each decoded and encoded.

use bytes::Bytes;
use http::{Response, request, response};
use towerkit_endpoint::RpcError;

use crate::ResponseBody;

/// Decodes the requests of a server.
///
/// A function of the same shape is a decoder, too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decode requests to `{T}`",
    note = "`Json`, `Form` and `Query` decode types with `serde::Deserialize`, `Protobuf` those with `prost::Message`",
    note = "a pair `(Query, Json)` decodes requests by the first codec and encodes responses by the second",
    note = "a closure needs the type of its first parameter: `|head: &http::request::Parts, body: Bytes| ..`"
)]
pub trait DecodeRequest<T> {
    /// Decodes a request.
    ///
    /// # Errors
    ///
    /// The error that the caller gets, most often an [`InvalidArgument`](towerkit_core::ErrorCode::InvalidArgument).
    fn decode_request(&self, head: &request::Parts, body: Bytes) -> Result<T, RpcError>;
}

/// Encodes the responses of a server.
///
/// A function of the same shape is an encoder, too: it may set the status and headers, or pass a body on that is a stream.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not encode responses of type `{U}`",
    note = "`Json` and `Form` encode types with `serde::Serialize`, `Protobuf` those with `prost::Message`",
    note = "a pair `(Query, Json)` decodes requests by the first codec and encodes responses by the second"
)]
pub trait EncodeResponse<U> {
    /// Encodes a response. Its status is sent after all of it is encoded.
    ///
    /// # Errors
    ///
    /// The error that the caller gets instead of the response, most often [`RpcError::internal`].
    fn encode_response(&self, response: U) -> Result<Response<ResponseBody>, RpcError>;
}

/// Encodes the requests of a client.
///
/// A function of the same shape is an encoder, too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not encode requests of type `{T}`",
    note = "`Json`, `Form` and `Query` encode types with `serde::Serialize`, `Protobuf` those with `prost::Message`",
    note = "a closure needs the type of its second parameter: `|message, head: &mut http::request::Parts| ..`"
)]
pub trait EncodeRequest<T> {
    /// Encodes the message, and returns the body. `head` has the method, the URI and the headers of the request so far; the encoder may
    /// change them, to set the path or the query for example.
    ///
    /// # Errors
    ///
    /// The error that the caller of the client gets. No request is sent then.
    fn encode_request(&self, message: T, head: &mut request::Parts) -> Result<Bytes, RpcError>;
}

/// Decodes the responses of a client whose status is 2xx.
///
/// A function of the same shape is a decoder, too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decode responses to `{U}`",
    note = "`Json` and `Form` decode types with `serde::Deserialize`, `Protobuf` those with `prost::Message`",
    note = "a pair `(Query, Json)` encodes requests by the first codec and decodes responses by the second",
    note = "a closure needs the type of its first parameter: `|head: &http::response::Parts, body: Bytes| ..`"
)]
pub trait DecodeResponse<U> {
    /// Decodes a response.
    ///
    /// # Errors
    ///
    /// The error that the caller of the client gets.
    fn decode_response(&self, head: &response::Parts, body: Bytes) -> Result<U, RpcError>;
}

impl<T, F> DecodeRequest<T> for F
where
    F: Fn(&request::Parts, Bytes) -> Result<T, RpcError>,
{
    fn decode_request(&self, head: &request::Parts, body: Bytes) -> Result<T, RpcError> {
        self(head, body)
    }
}

impl<U, F> EncodeResponse<U> for F
where
    F: Fn(U) -> Result<Response<ResponseBody>, RpcError>,
{
    fn encode_response(&self, response: U) -> Result<Response<ResponseBody>, RpcError> {
        self(response)
    }
}

impl<T, F> EncodeRequest<T> for F
where
    F: Fn(T, &mut request::Parts) -> Result<Bytes, RpcError>,
{
    fn encode_request(&self, message: T, head: &mut request::Parts) -> Result<Bytes, RpcError> {
        self(message, head)
    }
}

impl<U, F> DecodeResponse<U> for F
where
    F: Fn(&response::Parts, Bytes) -> Result<U, RpcError>,
{
    fn decode_response(&self, head: &response::Parts, body: Bytes) -> Result<U, RpcError> {
        self(head, body)
    }
}

/// Two codecs: the first for requests, the second for responses.
impl<T, A: DecodeRequest<T>, B> DecodeRequest<T> for (A, B) {
    fn decode_request(&self, head: &request::Parts, body: Bytes) -> Result<T, RpcError> {
        self.0.decode_request(head, body)
    }
}

/// Two codecs: the first for requests, the second for responses.
impl<U, A, B: EncodeResponse<U>> EncodeResponse<U> for (A, B) {
    fn encode_response(&self, response: U) -> Result<Response<ResponseBody>, RpcError> {
        self.1.encode_response(response)
    }
}

/// Two codecs: the first for requests, the second for responses.
impl<T, A: EncodeRequest<T>, B> EncodeRequest<T> for (A, B) {
    fn encode_request(&self, message: T, head: &mut request::Parts) -> Result<Bytes, RpcError> {
        self.0.encode_request(message, head)
    }
}

/// Two codecs: the first for requests, the second for responses.
impl<U, A, B: DecodeResponse<U>> DecodeResponse<U> for (A, B) {
    fn decode_response(&self, head: &response::Parts, body: Bytes) -> Result<U, RpcError> {
        self.1.decode_response(head, body)
    }
}
