use std::{error::Error, future::poll_fn, pin::Pin};

use bytes::Buf;
use http::HeaderMap;
use http_body::{Body, SizeHint};
use towerkit_core::{BoxError, causes};

use crate::{Action, ProbeBody, ProbeError};

/// The content of a response body: its data, its trailers, and if it failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BodyContent {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    has_failed: bool,
}

impl BodyContent {
    /// Returns the content of a response of the probe.
    pub(crate) fn expected(act: Action, grpc: bool) -> Self {
        if act == Action::FailInBody {
            return Self {
                data: ProbeBody::DATA[0].to_vec(),
                has_failed: true,
                ..Self::default()
            };
        }
        Self {
            data: ProbeBody::DATA.concat(),
            trailers: ProbeBody::trailers(act, grpc),
            has_failed: false,
        }
    }

    /// Reads a body to its end, or up to `frames` frames.
    ///
    /// # Panics
    ///
    /// Panics if a size hint or the announced end of the body was wrong, or if its error is not the probe's.
    pub(crate) async fn read<B>(mut body: Pin<&mut B>, frames: usize) -> Self
    where
        B: Body<Error: Into<BoxError>> + ?Sized,
    {
        let mut content = Self::default();
        let mut announced = Vec::new();
        for _ in 0..frames {
            announced.push((
                content.data.len() as u64,
                body.size_hint(),
                body.is_end_stream(),
            ));
            match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) => {
                        content
                            .data
                            .extend_from_slice(&data.copy_to_bytes(data.remaining()));
                    }
                    Err(frame) => content.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => {
                    let error = error.into();
                    assert!(
                        is_probe_error(error.as_ref()),
                        "the error of a body became {error}"
                    );
                    content.has_failed = true;
                    return content;
                }
                None => {
                    content.check(&announced);
                    return content;
                }
            }
        }
        content
    }

    /// Checks the size hint and the announced end of the body before each frame by the frames that followed.
    fn check(&self, announced: &[(u64, SizeHint, bool)]) {
        let frames = announced.len() - 1;
        for (frame, (before, hint, is_over)) in announced.iter().enumerate() {
            let left = self.data.len() as u64 - before;
            let upper = hint.upper().unwrap_or(u64::MAX);
            let is_true = (hint.lower()..=upper).contains(&left);
            assert!(is_true, "{left} bytes came after {hint:?}");
            let came = frames - frame;
            assert!(!is_over || came == 0, "{came} frames came after the end");
        }
    }
}

/// Returns true if an error is, or was caused by, the error of the probe.
fn is_probe_error(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.to_string() == ProbeError::FAILED)
}
