use bytes::Bytes;
use http::{Response, Uri, request, response, uri::PathAndQuery};
use serde::{Serialize, de::DeserializeOwned};
use towerkit_endpoint::RpcError;

use crate::{DecodeRequest, DecodeResponse, EncodeRequest, EncodeResponse, ResponseBody, content};

/// Encodes and decodes the body as a form
/// ([`application/x-www-form-urlencoded`](https://url.spec.whatwg.org/#application/x-www-form-urlencoded)).
#[derive(Debug, Clone, Copy, Default)]
pub struct Form;

/// Encodes and decodes the query of the URI. A request has no body.
///
/// It is for requests; pair it with a codec for responses: `(Query, Json)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query;

const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

impl<T: DeserializeOwned> DecodeRequest<T> for Form {
    fn decode_request(&self, _head: &request::Parts, body: Bytes) -> Result<T, RpcError> {
        serde_urlencoded::from_bytes(&body).map_err(|error| {
            content::invalid("not the form that this operation takes").with_source(error)
        })
    }
}

impl<U: Serialize> EncodeResponse<U> for Form {
    fn encode_response(&self, response: U) -> Result<Response<ResponseBody>, RpcError> {
        let form = encode(&response)?;
        Ok(content::response(CONTENT_TYPE, form))
    }
}

impl<T: Serialize> EncodeRequest<T> for Form {
    fn encode_request(&self, message: T, head: &mut request::Parts) -> Result<Bytes, RpcError> {
        content::set_content_type(head, CONTENT_TYPE);
        Ok(encode(&message)?.into())
    }
}

impl<U: DeserializeOwned> DecodeResponse<U> for Form {
    fn decode_response(&self, _head: &response::Parts, body: Bytes) -> Result<U, RpcError> {
        serde_urlencoded::from_bytes(&body).map_err(content::undecodable)
    }
}

impl<T: DeserializeOwned> DecodeRequest<T> for Query {
    fn decode_request(&self, head: &request::Parts, _body: Bytes) -> Result<T, RpcError> {
        let query = head.uri.query().unwrap_or_default();
        serde_urlencoded::from_str(query).map_err(|error| {
            content::invalid("not the query that this operation takes").with_source(error)
        })
    }
}

/// Replaces the query of the URI.
impl<T: Serialize> EncodeRequest<T> for Query {
    fn encode_request(&self, message: T, head: &mut request::Parts) -> Result<Bytes, RpcError> {
        let query = encode(&message)?;
        let path = head.uri.path();
        let target = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        };
        let internal = |error: http::Error| RpcError::internal().with_source(error);
        let target = PathAndQuery::try_from(target).map_err(|error| internal(error.into()))?;
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.path_and_query = Some(target);
        head.uri = Uri::from_parts(parts).map_err(|error| internal(error.into()))?;
        Ok(Bytes::new())
    }
}

fn encode(value: &impl Serialize) -> Result<String, RpcError> {
    serde_urlencoded::to_string(value).map_err(|error| RpcError::internal().with_source(error))
}
