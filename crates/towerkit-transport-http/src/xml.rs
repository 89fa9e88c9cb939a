use bytes::Bytes;
use http::{Response, request, response};
use serde::{Serialize, de::DeserializeOwned};
use towerkit_endpoint::RpcError;

use crate::{DecodeRequest, DecodeResponse, EncodeRequest, EncodeResponse, ResponseBody, content};

/// Encodes and decodes XML by [`serde`] and [`quick_xml`].
///
/// Entities of a document type are not expanded: a document that refers to one is malformed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Xml;

const CONTENT_TYPE: &str = "application/xml";

impl<T: DeserializeOwned> DecodeRequest<T> for Xml {
    fn decode_request(&self, _head: &request::Parts, body: Bytes) -> Result<T, RpcError> {
        quick_xml::de::from_reader(&*body).map_err(|error| {
            content::invalid("not the XML that this operation takes").with_source(error)
        })
    }
}

impl<U: Serialize> EncodeResponse<U> for Xml {
    fn encode_response(&self, response: U) -> Result<Response<ResponseBody>, RpcError> {
        let xml = encode(&response)?;
        Ok(content::response(CONTENT_TYPE, xml))
    }
}

impl<T: Serialize> EncodeRequest<T> for Xml {
    fn encode_request(&self, message: T, head: &mut request::Parts) -> Result<Bytes, RpcError> {
        content::set_content_type(head, CONTENT_TYPE);
        Ok(encode(&message)?.into())
    }
}

impl<U: DeserializeOwned> DecodeResponse<U> for Xml {
    fn decode_response(&self, _head: &response::Parts, body: Bytes) -> Result<U, RpcError> {
        quick_xml::de::from_reader(&*body).map_err(content::undecodable)
    }
}

fn encode(value: &impl Serialize) -> Result<String, RpcError> {
    quick_xml::se::to_string(value).map_err(|error| RpcError::internal().with_source(error))
}
