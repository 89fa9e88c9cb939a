//! The messages in a body of gRPC.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tonic::Status;
use towerkit_core::{BoxError, causes};
use towerkit_http::CallerGone;

/// The limit of gRPC for a message, in bytes.
pub(crate) const DEFAULT_MAX_MESSAGE: usize = 4 << 20;

/// The prefix of the content types of gRPC.
pub(crate) const GRPC: &[u8] = b"application/grpc";

/// Follows the messages in a body, without a copy of them.
#[derive(Debug, Clone)]
struct MessageScanner {
    max: usize,
    /// The prefix of the next message: a flag, and its length in four bytes.
    prefix: [u8; 5],
    prefix_len: usize,
    /// The bytes until the end of the current message.
    left: usize,
}

impl MessageScanner {
    fn new(max: usize) -> Self {
        Self {
            max,
            prefix: [0; 5],
            prefix_len: 0,
            left: 0,
        }
    }

    /// Reads more of the body.
    ///
    /// # Errors
    ///
    /// Returns the length of a message over the limit.
    fn scan(&mut self, mut data: &[u8]) -> Result<(), usize> {
        loop {
            let skipped = self.left.min(data.len());
            self.left -= skipped;
            data = &data[skipped..];
            let Some((first, rest)) = data.split_first() else {
                return Ok(());
            };
            self.prefix[self.prefix_len] = *first;
            self.prefix_len += 1;
            data = rest;
            if self.prefix_len == self.prefix.len() {
                self.prefix_len = 0;
                let [_, length @ ..] = self.prefix;
                let length = u32::from_be_bytes(length) as usize;
                if length > self.max {
                    return Err(length);
                }
                self.left = length;
            }
        }
    }
}

/// A body of gRPC that ends with `RESOURCE_EXHAUSTED` at a message over the limit, before it is read into memory.
///
/// tonic has a limit of its own, and ends such a call with `OUT_OF_RANGE`, which clients take for an error of the request.
#[pin_project]
#[derive(Debug)]
pub struct MessageLimitBody<B> {
    #[pin]
    inner: B,
    scanner: Option<MessageScanner>,
    is_request: bool,
}

impl<B> MessageLimitBody<B> {
    /// Makes the body of a response.
    pub(crate) fn new(inner: B, max: usize) -> Self {
        Self {
            inner,
            scanner: Some(MessageScanner::new(max)),
            is_request: false,
        }
    }

    /// Makes the body of a request that a server reads.
    pub(crate) fn of_request(inner: B, max: usize) -> Self {
        Self {
            is_request: true,
            ..Self::new(inner, max)
        }
    }

    /// Makes a body of another protocol, which has no limit here.
    pub(crate) fn unlimited(inner: B) -> Self {
        Self {
            inner,
            scanner: None,
            is_request: false,
        }
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for MessageLimitBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let Some(frame) = ready!(this.inner.poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(|error| match this.is_request {
            true => request_error(error.into()),
            false => error.into(),
        })?;
        let mut frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        if let (Some(scanner), Some(data)) = (this.scanner, frame.data_ref()) {
            let scanned = scanner.scan(data);
            scanned.map_err(|length| too_large(length, scanner.max))?;
        }
        if let Some(trailers) = frame.trailers_mut() {
            remove_invalid_details(trailers);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Marks the error of a request whose stream the caller has reset, or whose connection broke.
///
/// tonic makes an internal error of it, because a message is missing.
fn request_error(error: BoxError) -> BoxError {
    let is_gone = |error: &(dyn Error + 'static)| {
        let stream: Option<&h2::Error> = error.downcast_ref();
        stream.is_some_and(|error| error.is_remote() || error.is_io())
    };
    if !causes(&*error).any(is_gone) {
        return error;
    }
    // tonic takes a body that ends with `CANCELLED` for a complete one.
    let mut status = Status::unavailable("the caller is gone");
    status.set_source(Arc::new(CallerGone::new(error)));
    status.into()
}

/// Returns the status of a message over the limit.
pub(crate) fn too_large(length: usize, max: usize) -> Status {
    Status::resource_exhausted(format!(
        "a message has {length} bytes, and the limit is {max}"
    ))
}

const DETAILS: &str = "grpc-status-details-bin";

/// Removes details of a status that tonic cannot decode, and at which it panics.
pub(crate) fn remove_invalid_details(headers: &mut HeaderMap) {
    const LIKE_TONIC: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    if let Some(details) = headers.get(DETAILS)
        && LIKE_TONIC.decode(details).is_err()
    {
        headers.remove(DETAILS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a message with this length in its prefix.
    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.resize(5 + length as usize, 7);
        bytes
    }

    /// GR-04
    #[test]
    fn a_message_over_the_limit_is_found_wherever_the_frames_are_cut() {
        let bytes = [message(0), message(3), message(8), message(9), message(1)].concat();
        for size in 1..=bytes.len() {
            let scan = |max| {
                let mut scanner = MessageScanner::new(max);
                bytes.chunks(size).try_for_each(|data| scanner.scan(data))
            };
            assert_eq!(scan(9), Ok(()), "{size}");
            assert_eq!(scan(8), Err(9), "{size}");
            assert_eq!(scan(7), Err(8), "{size}");
            assert_eq!(scan(0), Err(3), "{size}");
        }
        let mut scanner = MessageScanner::new(8);
        assert_eq!(
            scanner.scan(&[1, 255, 255, 255, 255]),
            Err(u32::MAX as usize)
        );
    }

    /// GR-09
    #[test]
    fn only_details_that_are_base64_stay() {
        let table = [
            ("AAID", true),
            ("AAI", true),
            ("AAI=", true),
            ("", true),
            ("%%%", false),
            ("A", false),
        ];
        for (value, stays) in table {
            let mut headers = HeaderMap::new();
            headers.insert(DETAILS, value.parse().unwrap());
            remove_invalid_details(&mut headers);
            assert_eq!(headers.contains_key(DETAILS), stays, "{value}");
        }
    }
}
