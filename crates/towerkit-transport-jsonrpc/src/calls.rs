use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use http::{Extensions, HeaderMap};
use pin_project::pin_project;
use serde::Serialize;
use serde_json::value::RawValue;
use towerkit_core::ProtocolKind;
use towerkit_endpoint::{Request, ServeCall, UnknownMethod, serve_call};

use crate::{ErrorObject, RawEndpoint};

/// The calls of one HTTP request, which run at the same time, but for a limit.
pub(crate) struct Calls {
    headers: HeaderMap,
    extensions: Extensions,
    concurrency: usize,
    is_batch: bool,
    waiting: vec::IntoIter<WaitingCall>,
    in_flight: FuturesUnordered<InFlight>,
    /// The responses as JSON, in the order of the calls.
    responses: Vec<Option<String>>,
}

/// A call that has not begun.
pub(crate) struct WaitingCall {
    pub(crate) endpoint: RawEndpoint,
    pub(crate) operation: &'static str,
    /// The name of a method that the server does not have.
    pub(crate) unknown_method: Option<Box<str>>,
    pub(crate) params: Box<RawValue>,
    pub(crate) id: Option<Box<RawValue>>,
    /// The index of the response.
    pub(crate) index: usize,
}

#[pin_project]
struct InFlight {
    index: usize,
    id: Option<Box<RawValue>>,
    #[pin]
    call: ServeCall<RawEndpoint, Box<RawValue>>,
}

impl Calls {
    /// Makes the calls. `responses` has the response of each call that is not valid.
    pub(crate) fn new(
        waiting: Vec<WaitingCall>,
        responses: Vec<Option<String>>,
        is_batch: bool,
        concurrency: usize,
        (headers, extensions): (HeaderMap, Extensions),
    ) -> Self {
        Self {
            headers,
            extensions,
            concurrency,
            is_batch,
            waiting: waiting.into_iter(),
            in_flight: FuturesUnordered::new(),
            responses,
        }
    }

    /// Polls the calls, and returns the body of the response; `None` if all calls are notifications.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        loop {
            while self.in_flight.len() < self.concurrency
                && let Some(call) = self.waiting.next()
            {
                let call = self.start(call);
                self.in_flight.push(call);
            }
            match ready!(self.in_flight.poll_next_unpin(cx)) {
                Some((index, response)) => self.responses[index] = response,
                None => return Poll::Ready(self.body()),
            }
        }
    }

    fn start(&mut self, call: WaitingCall) -> InFlight {
        let mut request = Request::new(call.operation, call.params);
        request.protocol = ProtocolKind::JsonRpc;
        // The last call takes the context; others copy it.
        if self.waiting.len() == 0 {
            request.headers = mem::take(&mut self.headers);
            request.extensions = mem::take(&mut self.extensions);
        } else {
            request.headers.clone_from(&self.headers);
            request.extensions.clone_from(&self.extensions);
        }
        if let Some(name) = call.unknown_method {
            request.extensions.insert(UnknownMethod(name));
        }
        InFlight {
            index: call.index,
            id: call.id,
            call: serve_call(call.endpoint, request),
        }
    }

    fn body(&mut self) -> Option<String> {
        let responses: Vec<_> = self.responses.drain(..).flatten().collect();
        match responses.is_empty() {
            true => None,
            false if self.is_batch => Some(format!("[{}]", responses.join(","))),
            false => responses.into_iter().next(),
        }
    }
}

impl Future for InFlight {
    type Output = (usize, Option<String>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        let result = ready!(me.call.poll(cx));
        let response = me.id.as_deref().map(|id| match result {
            Ok(result) => response(id, Ok(&result)),
            Err(error) => response(id, Err(error.into())),
        });
        Poll::Ready((*me.index, response))
    }
}

/// Encodes a response with the id of its call as the caller wrote it.
pub(crate) fn response(id: &RawValue, result: Result<&RawValue, ErrorObject>) -> String {
    #[derive(Serialize)]
    struct Response<'a> {
        jsonrpc: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<ErrorObject>,
        id: &'a RawValue,
    }

    let (result, error) = match result {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(error)),
    };
    let response = Response {
        jsonrpc: "2.0",
        result,
        error,
        id,
    };
    serde_json::to_string(&response).expect("texts, numbers and raw JSON are encoded")
}
