use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame};
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep};

/// The time without a byte after which a watch counts as dead. An API server sends bookmarks about once a minute.
pub(crate) const SILENCE: Duration = Duration::from_secs(90);
/// The age from which on the end of a watch is regular: it is asked for 290 s.
const REGULAR_END: Duration = Duration::from_secs(280);

/// The body of a watch, which reports an end before its time, and does not end by itself then.
#[pin_project]
pub(crate) struct WatchBody<B, F> {
    #[pin]
    inner: B,
    #[pin]
    silence: Sleep,
    regular_end: Instant,
    /// The bytes of the line that has begun.
    line: usize,
    max_line: usize,
    /// Called once, with the end; then the body is pending.
    report: Option<F>,
}

/// The end of a watch that is not regular.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WatchEnd {
    /// The connection was closed or silent.
    Lost,
    /// A line was longer than the maximum.
    TooLarge,
}

impl<B, F: FnOnce(WatchEnd)> WatchBody<B, F> {
    pub(crate) fn new(inner: B, max_line: usize, report: F) -> Self {
        Self {
            inner,
            silence: sleep(SILENCE),
            regular_end: Instant::now() + REGULAR_END,
            line: 0,
            max_line,
            report: Some(report),
        }
    }
}

impl<B: Body, F: FnOnce(WatchEnd)> Body for WatchBody<B, F>
where
    B::Data: AsRef<[u8]>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        if this.report.is_none() {
            return Poll::Pending;
        }
        let end = match this.inner.poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.silence.as_mut().reset(Instant::now() + SILENCE);
                *this.line = line_after(*this.line, &frame);
                if *this.line <= *this.max_line {
                    return Poll::Ready(Some(Ok(frame)));
                }
                WatchEnd::TooLarge
            }
            Poll::Ready(None) if Instant::now() >= *this.regular_end => return Poll::Ready(None),
            Poll::Ready(None | Some(Err(_))) => WatchEnd::Lost,
            Poll::Pending => match this.silence.as_mut().poll(context) {
                Poll::Ready(()) => WatchEnd::Lost,
                Poll::Pending => return Poll::Pending,
            },
        };
        if let Some(report) = this.report.take() {
            report(end);
        }
        Poll::Pending
    }
}

/// Returns the length of the line that has begun, after a frame.
fn line_after<D: AsRef<[u8]>>(line: usize, frame: &Frame<D>) -> usize {
    let Some(data) = frame.data_ref() else {
        return line;
    };
    let data = data.as_ref();
    match data.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => data.len() - newline - 1,
        None => line + data.len(),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn, pin::pin};

    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_over_the_maximum_ends_the_watch_and_lines_below_do_not() {
        // SD-12
        for (text, expected) in [
            ("1234\n12345\n1", WatchEnd::Lost),
            ("123456\n", WatchEnd::Lost),
            ("123456", WatchEnd::TooLarge),
            ("1\n\n123456", WatchEnd::TooLarge),
        ] {
            let end = Cell::new(None);
            let inner = Full::new(bytes::Bytes::copy_from_slice(text.as_bytes()));
            let mut body = pin!(WatchBody::new(inner, 5, |how| end.set(Some(how))));
            while end.get().is_none() {
                let frame = poll_fn(|context| Poll::Ready(body.as_mut().poll_frame(context))).await;
                assert!(end.get().is_some() || frame.is_ready());
            }
            assert_eq!(end.get(), Some(expected), "{text:?}");
            let mut more = pin!(body.frame());
            assert!(
                poll_fn(|context| Poll::Ready(more.as_mut().poll(context)))
                    .await
                    .is_pending()
            );
        }
    }
}
