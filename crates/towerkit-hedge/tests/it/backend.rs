//! A backend that sends a configured reply to each attempt, and records the attempts.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;
use towerkit_core::{BoxError, Rejection, RejectionReason};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// The reply to one attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    after: Duration,
    status: u16,
    header: Option<(&'static str, &'static str)>,
    rejected: Option<RejectionReason>,
    ready_after: Option<Duration>,
    reads_body: bool,
}

pub(crate) fn reply(after: Duration, status: u16) -> Reply {
    Reply {
        after,
        status,
        header: None,
        rejected: None,
        ready_after: Some(Duration::ZERO),
        reads_body: true,
    }
}

impl Reply {
    pub(crate) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// Makes a rejection by a guard between the hedge and the upstream.
    pub(crate) fn rejected(mut self, reason: RejectionReason) -> Self {
        self.rejected = Some(reason);
        self
    }

    pub(crate) fn ready_after(mut self, wait: Duration) -> Self {
        self.ready_after = Some(wait);
        self
    }

    pub(crate) fn never_ready(mut self) -> Self {
        self.ready_after = None;
        self
    }

    pub(crate) fn without_reading(mut self) -> Self {
        self.reads_body = false;
        self
    }
}

/// An attempt that reached the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) hedge: Option<String>,
    pub(crate) body: Bytes,
}

struct Log {
    start: Instant,
    replies: Vec<Reply>,
    seen: Vec<Seen>,
    in_flight: usize,
    readied: usize,
}

/// Each instance serves one attempt, in the order in which the instances become ready.
pub(crate) struct Backend {
    log: Arc<Mutex<Log>>,
    reply: Option<Reply>,
    timer: Option<Pin<Box<Sleep>>>,
    is_ready: bool,
}

impl Backend {
    /// Creates a backend that repeats the last reply.
    pub(crate) fn new(replies: impl Into<Vec<Reply>>) -> Self {
        Self::of(Arc::new(Mutex::new(Log {
            start: Instant::now(),
            replies: replies.into(),
            seen: Vec::new(),
            in_flight: 0,
            readied: 0,
        })))
    }

    fn of(log: Arc<Mutex<Log>>) -> Self {
        Self {
            log,
            reply: None,
            timer: None,
            is_ready: false,
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log().seen.clone()
    }

    /// Returns the times at which attempts arrived.
    pub(crate) fn times(&self) -> Vec<Duration> {
        self.seen().iter().map(|seen| seen.at).collect()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.log().in_flight
    }
}

impl Clone for Backend {
    fn clone(&self) -> Self {
        Self::of(self.log.clone())
    }
}

impl<B> Service<Request<B>> for Backend
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Debug,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let log = self.log.clone();
        let reply = *self.reply.get_or_insert_with(|| {
            let mut log = log.lock().unwrap();
            let reply = log.replies[log.readied.min(log.replies.len() - 1)];
            log.readied += 1;
            reply
        });
        let Some(wait) = reply.ready_after else {
            return Poll::Ready(Err("the instance is gone".into()));
        };
        if !wait.is_zero() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(wait)));
            std::task::ready!(timer.as_mut().poll(cx));
        }
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.is_ready),
            "called without being ready"
        );
        let reply = self.reply.take().expect("it is ready");
        let going_on = GoingOn::new(self.log.clone());
        let number = {
            let mut log = self.log();
            let hedge = request.headers().get("x-hedge-attempt");
            let seen = Seen {
                at: log.start.elapsed(),
                hedge: hedge.map(|value| value.to_str().unwrap().to_owned()),
                body: Bytes::new(),
            };
            log.seen.push(seen);
            log.seen.len() - 1
        };
        let log = self.log.clone();
        Box::pin(async move {
            let _going_on = going_on;
            if reply.reads_body {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                log.lock().unwrap().seen[number].body = body;
            }
            if !reply.after.is_zero() {
                sleep(reply.after).await;
            }
            respond(reply, number)
        })
    }
}

fn respond(reply: Reply, number: usize) -> Result<Response<Full<Bytes>>, BoxError> {
    if let Some(reason) = reply.rejected {
        return Err(Rejection::new(reason, "breaker").into());
    }
    let mut response = Response::new(Full::from(number.to_string()));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    if let Some((name, value)) = reply.header {
        let name = HeaderName::from_static(name);
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    Ok(response)
}

/// Counts an attempt until its future is dropped.
struct GoingOn(Arc<Mutex<Log>>);

impl GoingOn {
    fn new(log: Arc<Mutex<Log>>) -> Self {
        log.lock().unwrap().in_flight += 1;
        Self(log)
    }
}

impl Drop for GoingOn {
    fn drop(&mut self) {
        self.0.lock().unwrap().in_flight -= 1;
    }
}
