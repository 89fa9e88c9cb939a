//! The parts that the codecs of this crate have in common.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, header, request};
use towerkit_core::{BoxError, ErrorCode};
use towerkit_endpoint::RpcError;

use crate::ResponseBody;

/// Makes the error of a request that cannot be decoded.
pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> RpcError {
    RpcError::new(ErrorCode::InvalidArgument, message)
}

/// Makes the error of a response of the upstream that cannot be decoded.
pub(crate) fn undecodable(source: impl Into<BoxError>) -> RpcError {
    RpcError::new(
        ErrorCode::Internal,
        "the response of the upstream cannot be decoded",
    )
    .with_source(source)
}

/// Makes a response with a content type.
pub(crate) fn response(
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(body.into()));
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// Sets the content type of a request.
pub(crate) fn set_content_type(head: &mut request::Parts, content_type: &'static str) {
    let content_type = HeaderValue::from_static(content_type);
    head.headers.insert(header::CONTENT_TYPE, content_type);
}
