use std::{
    convert::Infallible,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{
    Layer, Service, limit::ConcurrencyLimitLayer as Tower, load_shed::LoadShedLayer, service_fn,
};
use towerkit_concurrency::ConcurrencyLimitLayer;
use towerkit_http::HttpExt;

use crate::{
    Bug,
    callee::{Callee, Script, Subject},
};

pub(crate) fn bugs() -> Vec<Bug> {
    vec![place_for_the_dead(), idle_handles(), streams()]
}

fn limit(limit: u32) -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(limit).expect("a valid limit")
}

/// One call is in flight, a second is rejected, the first ends; the handle of the second stays. Is a third admitted?
fn place_for_the_dead() -> Bug {
    fn third<S: Service<Script> + Clone>(mut subject: Subject<S>) -> String {
        let mut second = subject.another();
        let mut third = subject.another();
        let (_, first) = subject.pend();
        second.call(Script::Succeed);
        first.end(true);
        if third.call(Script::Succeed) {
            "admitted".to_owned()
        } else {
            "rejected".to_owned()
        }
    }
    Bug {
        id: "LS-06",
        peer: "tower",
        what: "limit of 1 that sheds, nothing in flight, an idle handle that was rejected once: a call is",
        expected: "admitted",
        observed: third(Subject::new(|callee: Callee| {
            LoadShedLayer::new().layer(Tower::new(1).layer(callee))
        })),
        ours: third(Subject::new(|callee| limit(1).layer(callee))),
    }
}

/// As many handles as there are places are ready and do nothing, as those of idle connections.
fn idle_handles() -> Bug {
    fn next<S: Service<Script> + Clone>(subject: Subject<S>) -> String {
        let mut handles: Vec<_> = (0..100).map(|_| subject.another()).collect();
        for handle in &mut handles {
            let _ = handle.poll_ready();
        }
        let mut next = subject.another();
        if next.poll_ready() && next.call(Script::Succeed) {
            "served".to_owned()
        } else {
            "waits".to_owned()
        }
    }
    Bug {
        id: "LS-06",
        peer: "tower",
        what: "limit of 100, 100 idle handles that are ready: a call",
        expected: "served",
        observed: next(Subject::new(|callee| Tower::new(100).layer(callee))),
        ours: next(Subject::new(|callee| limit(100).layer(callee))),
    }
}

/// A response is still being sent until its body has been read.
fn streams() -> Bug {
    fn streaming<S, B>(mut service: S) -> String
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    {
        let mut cx = Context::from_waker(Waker::noop());
        let mut held = Vec::new();
        for _ in 0..10 {
            if service.poll_ready(&mut cx).is_ready() {
                let mut call = Box::pin(service.call(Request::default()));
                if let Poll::Ready(Ok(response)) = call.as_mut().poll(&mut cx) {
                    held.push(response);
                }
            }
        }
        let streaming = held.iter().filter(|response| response.status() == 200);
        streaming.count().to_string()
    }
    Bug {
        id: "LS-02",
        peer: "tower",
        what: "limit of 2: responses being sent at once",
        expected: "2",
        observed: streaming(Tower::new(2).layer(service_fn(hello))),
        ours: streaming(limit(2).http().layer(service_fn(hello))),
    }
}

async fn hello(_request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}
