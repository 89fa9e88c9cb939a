use bytes::Bytes;
use http::{Response, request, response};
use prost::Message;
use towerkit_endpoint::RpcError;

use crate::{DecodeRequest, DecodeResponse, EncodeRequest, EncodeResponse, ResponseBody, content};

/// Encodes and decodes [Protocol Buffers](https://protobuf.dev) by [`prost`], with the content type `application/x-protobuf`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Protobuf;

const CONTENT_TYPE: &str = "application/x-protobuf";

impl<T: Message + Default> DecodeRequest<T> for Protobuf {
    fn decode_request(&self, _head: &request::Parts, body: Bytes) -> Result<T, RpcError> {
        T::decode(body).map_err(|error| {
            content::invalid("not the message that this operation takes").with_source(error)
        })
    }
}

impl<U: Message> EncodeResponse<U> for Protobuf {
    fn encode_response(&self, response: U) -> Result<Response<ResponseBody>, RpcError> {
        Ok(content::response(CONTENT_TYPE, response.encode_to_vec()))
    }
}

impl<T: Message> EncodeRequest<T> for Protobuf {
    fn encode_request(&self, message: T, head: &mut request::Parts) -> Result<Bytes, RpcError> {
        content::set_content_type(head, CONTENT_TYPE);
        Ok(message.encode_to_vec().into())
    }
}

impl<U: Message + Default> DecodeResponse<U> for Protobuf {
    fn decode_response(&self, _head: &response::Parts, body: Bytes) -> Result<U, RpcError> {
        U::decode(body).map_err(content::undecodable)
    }
}
