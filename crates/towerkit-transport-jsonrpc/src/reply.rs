//! The responses of an upstream.

use std::time::Duration;

use bytes::Bytes;
use http::response;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use towerkit_core::ErrorCode;
use towerkit_endpoint::{IntoRpcError, RpcError};
use towerkit_transport_http::{parse_code, read_error};

use crate::{
    ErrorObject,
    error_object::code_of,
    message::{is_version, object, present},
};

/// One response to a call.
pub(crate) struct Reply<'a> {
    /// `None` if there is no id, or `null`: the upstream could not read that of the call.
    id: Option<&'a RawValue>,
    result: Result<&'a RawValue, ErrorObject>,
}

/// The members of a response. A member that is there twice is an error.
#[derive(Deserialize)]
struct ReplyMembers<'a> {
    #[serde(borrow)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    error: Option<ErrorObject>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

impl<'a> Reply<'a> {
    /// Reads a response, which may be any JSON.
    ///
    /// A member that is `null` beside the other one counts as left out: servers that know earlier versions send both.
    pub(crate) fn read(json: &'a RawValue) -> Option<Self> {
        let members: ReplyMembers<'a> = object(json)?;
        if !is_version(members.jsonrpc) {
            return None;
        }
        let result = match (members.result, members.error) {
            (Some(result), None) => Ok(result),
            (None, Some(error)) => Err(error),
            (Some(result), Some(error)) if result.get() == "null" => Err(error),
            _ => return None,
        };
        let id = members.id;
        Some(Self { id, result })
    }

    /// Returns the id if it is one that a client of this project has sent.
    pub(crate) fn id(&self) -> Option<u64> {
        self.id?.get().parse().ok()
    }

    /// Decodes the result, or converts the error, of the call with this id.
    pub(crate) fn decode<U: DeserializeOwned>(
        self,
        id: u64,
        head: &response::Parts,
        body: &Bytes,
    ) -> Result<U, RpcError> {
        match self.result {
            Err(error) if self.id.is_none() => Err(rpc_error(error, head, body)),
            _ if self.id() != Some(id) => Err(other_call()),
            Err(error) => Err(rpc_error(error, head, body)),
            Ok(_) if !head.status.is_success() => Err(read_error(head, body)),
            Ok(result) => serde_json::from_str(result.get())
                .map_err(|error| not_understood().with_source(error)),
        }
    }
}

/// Decodes the body of the response to one call.
pub(crate) fn decode_one<U: DeserializeOwned>(
    id: u64,
    head: &response::Parts,
    body: &Bytes,
) -> Result<U, RpcError> {
    let json = serde_json::from_slice(body).ok();
    match json.and_then(Reply::read) {
        Some(reply) => reply.decode(id, head, body),
        None => Err(no_reply(head, body)),
    }
}

/// Decodes the body of the response to a batch. The calls have consecutive ids from `first` on.
pub(crate) fn decode_batch<U: DeserializeOwned>(
    first: u64,
    calls: usize,
    head: &response::Parts,
    body: &Bytes,
) -> Result<Vec<Result<U, RpcError>>, RpcError> {
    let json: Option<&RawValue> = serde_json::from_slice(body).ok();
    let json = json.ok_or_else(|| no_reply(head, body))?;
    if let Some(Reply { result, .. }) = Reply::read(json) {
        // One error for all calls.
        return Err(match result {
            Err(error) => rpc_error(error, head, body),
            Ok(_) => no_reply(head, body),
        });
    }
    let replies: Vec<&RawValue> =
        serde_json::from_str(json.get()).map_err(|_| no_reply(head, body))?;
    let mut results: Vec<Option<Result<U, RpcError>>> = Vec::new();
    results.resize_with(calls, || None);
    for reply in replies.into_iter().filter_map(Reply::read) {
        let Some(id) = reply.id() else { continue };
        let index = id.checked_sub(first).map(usize::try_from);
        let Some(Ok(index)) = index else { continue };
        let Some(slot) = results.get_mut(index) else {
            continue;
        };
        // Of two responses to one call, one is that of another.
        *slot = Some(match slot {
            Some(_) => Err(other_call()),
            None => reply.decode(id, head, body),
        });
    }
    let missing = || RpcError::new(ErrorCode::Internal, "the upstream did not answer the call");
    let results = results.into_iter();
    Ok(results
        .map(|result| result.unwrap_or_else(|| Err(missing())))
        .collect())
}

/// Makes the error of a response that is not JSON-RPC.
fn no_reply(head: &response::Parts, body: &Bytes) -> RpcError {
    if head.status.is_success() {
        not_understood()
    } else {
        read_error(head, body)
    }
}

fn not_understood() -> RpcError {
    let message = "the response of the upstream cannot be decoded";
    RpcError::new(ErrorCode::Internal, message)
}

fn other_call() -> RpcError {
    let message = "the response of the upstream is that of another call";
    RpcError::new(ErrorCode::Internal, message)
}

/// Converts the error object of a response.
///
/// The numbers from -32000 down are not converted: each kind of server gives them another meaning.
fn rpc_error(object: ErrorObject, head: &response::Parts, body: &Bytes) -> RpcError {
    let data = object.data().map(RawValue::get);
    let data: Value = data
        .and_then(|data| serde_json::from_str(data).ok())
        .unwrap_or_default();
    let by_status = (!head.status.is_success()).then(|| read_error(head, body));
    let code = data["code"].as_str().and_then(parse_code);
    let code = code.or_else(|| code_of(object.code()));
    let code = code.or(by_status.as_ref().map(RpcError::code));
    let wait = data["retry_after_ms"].as_u64().map(Duration::from_millis);
    let wait = wait.or(by_status.and_then(|error| error.retry_after()));
    let message = object.message().to_owned();
    let error = RpcError::new(code.unwrap_or(ErrorCode::Unknown), message).with_source(object);
    match wait {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}
