use bytes::Bytes;
use http::{Method, Response, request, response};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;
use towerkit_endpoint::RpcError;

use crate::{DecodeRequest, DecodeResponse, EncodeRequest, EncodeResponse, ResponseBody, content};

/// Encodes and decodes JSON ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)) by [`serde`].
///
/// The content type of a request is not checked, because `curl -d` sends that of a form. So a page of another origin can make a browser
/// send such a request without a [preflight]: a service that authenticates by cookies must check the `Origin` header. An empty body is
/// decoded as `null`, and a `null` is not sent with a `GET` or a `HEAD`, so that a request without parameters can have the type `()`.
///
/// [preflight]: https://developer.mozilla.org/en-US/docs/Glossary/Preflight_request
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

const CONTENT_TYPE: &str = "application/json";

impl<T: DeserializeOwned> DecodeRequest<T> for Json {
    fn decode_request(&self, _head: &request::Parts, body: Bytes) -> Result<T, RpcError> {
        let json: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(json).map_err(|error| {
            let mistake = match error.classify() {
                // The text of such an error names types of the program.
                Category::Data => "not the JSON that this operation takes",
                _ => "malformed JSON",
            };
            let (line, column) = (error.line(), error.column());
            content::invalid(format!("{mistake}: line {line}, column {column}")).with_source(error)
        })
    }
}

impl<U: Serialize> EncodeResponse<U> for Json {
    fn encode_response(&self, response: U) -> Result<Response<ResponseBody>, RpcError> {
        let json = encode(&response)?;
        Ok(content::response(CONTENT_TYPE, json))
    }
}

impl<T: Serialize> EncodeRequest<T> for Json {
    fn encode_request(&self, message: T, head: &mut request::Parts) -> Result<Bytes, RpcError> {
        let json = encode(&message)?;
        // RFC 9110, section 9.3.1: some servers reject a GET that has a body.
        if json == b"null" && matches!(head.method, Method::GET | Method::HEAD) {
            return Ok(Bytes::new());
        }
        content::set_content_type(head, CONTENT_TYPE);
        Ok(json.into())
    }
}

impl<U: DeserializeOwned> DecodeResponse<U> for Json {
    fn decode_response(&self, _head: &response::Parts, body: Bytes) -> Result<U, RpcError> {
        let json: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(json).map_err(content::undecodable)
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, RpcError> {
    serde_json::to_vec(value).map_err(|error| RpcError::internal().with_source(error))
}
