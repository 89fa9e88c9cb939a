use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use tokio::time::{Duration, Instant};
use tower::{Service, ServiceExt};
use towerkit_retry::RetryReport;

pub(crate) type Answer = Response<Full<Bytes>>;

/// A service that gives the scripted responses, and then 200. It records the headers and the time of each request.
#[derive(Clone)]
pub(crate) struct Script {
    shared: Arc<Shared>,
}

struct Shared {
    start: Instant,
    answers: Mutex<Vec<Answer>>,
    seen: Mutex<Vec<(Duration, HeaderMap)>>,
}

impl Script {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        let shared = Shared {
            start: Instant::now(),
            answers: Mutex::new(answers),
            seen: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Responds with these statuses.
    pub(crate) fn of(statuses: &[u16]) -> Self {
        Self::new(statuses.iter().map(|status| answer(*status, &[])))
    }

    pub(crate) fn calls(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// Returns the time of each call.
    pub(crate) fn times(&self) -> Vec<Duration> {
        self.shared
            .seen
            .lock()
            .unwrap()
            .iter()
            .map(|(at, _)| *at)
            .collect()
    }

    /// Returns a header of each request.
    pub(crate) fn headers(&self, name: &str) -> Vec<Option<String>> {
        let seen = self.shared.seen.lock().unwrap();
        let values = seen.iter().map(|(_, headers)| headers.get(name));
        values
            .map(|value| Some(value?.to_str().unwrap().to_owned()))
            .collect()
    }
}

impl<B> Service<Request<B>> for Script {
    type Response = Answer;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let at = self.shared.start.elapsed();
        self.shared
            .seen
            .lock()
            .unwrap()
            .push((at, request.headers().clone()));
        let next = self.shared.answers.lock().unwrap().pop();
        std::future::ready(Ok(next.unwrap_or_else(|| answer(200, &[]))))
    }
}

pub(crate) fn answer(status: u16, headers: &[(&'static str, &str)]) -> Answer {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(Full::default()).unwrap()
}

pub(crate) fn request(method: Method) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = method;
    request
}

pub(crate) fn get() -> Request<Full<Bytes>> {
    request(Method::GET)
}

pub(crate) fn grpc() -> Request<Full<Bytes>> {
    let mut request = request(Method::POST);
    request
        .headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    request
}

/// Calls a clone of a service that cannot fail.
pub(crate) async fn call<S>(service: &S, request: Request<Full<Bytes>>) -> S::Response
where
    S: Service<Request<Full<Bytes>>, Error = Infallible> + Clone,
{
    match service.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

pub(crate) fn report<B>(response: &Response<B>) -> RetryReport {
    response.extensions().get().cloned().expect("a report")
}
