use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body::Body;
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

/// The longest rest of a request body that is read before its response is sent, in bytes: that of Go's `net/http`.
pub(crate) const MAX_UNREAD: u64 = 256 * 1024;

/// The time that the rest has to arrive.
const MAX_TIME: Duration = Duration::from_secs(1);

/// Reads the rest of a request body that the service has dropped.
///
/// Over HTTP/1.1 a connection is usable again only after the whole request was read. Without it hyper closes the connection, and a
/// client that still sends, or that already sends its next request, loses the response. It ends at the end of the body, or when the rest
/// is too long or too slow.
pub(crate) struct UnreadBody {
    incoming: Incoming,
    left: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl UnreadBody {
    pub(crate) fn new(incoming: Incoming) -> Self {
        Self {
            incoming,
            left: MAX_UNREAD,
            timer: None,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                    match self.left.checked_sub(length) {
                        Some(left) => self.left = left,
                        None => return Poll::Ready(()),
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(MAX_TIME)));
                    return timer.as_mut().poll(cx);
                }
            }
        }
    }
}
