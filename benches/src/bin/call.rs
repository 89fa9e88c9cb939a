//! Makes calls of the cases whose group and name are given, for a profiler: `call GROUP NAME [CALLS]`.
//!
//! What `valgrind --tool=callgrind` counts with 2,000 calls more than with 1,000 are the instructions of a thousand calls, also on a
//! machine on which nanoseconds mean nothing.

use std::env;

use axum::Router;
use bytes::Bytes;
use http::Response;
use http_body::Body;
use tower::Service;
use towerkit_benches::{
    HttpRequest, Label, Visit, call_http, call_key, call_plain, call_router, catalogue, runtime,
};
use tracing::{Dispatch, dispatcher::with_default};

struct Calls {
    group: String,
    name: String,
    calls: u64,
    title: String,
    subscriber: Dispatch,
}

impl Calls {
    fn make(&self, label: Label, mut call: impl FnMut(u64)) {
        if self.title.contains(&self.group) && label.name == self.name {
            println!("{}: {}", self.title, label.name);
            with_default(&self.subscriber, || (0..self.calls).for_each(&mut call));
        }
    }
}

impl Visit for Calls {
    fn group(&mut self, title: String) {
        self.title = title;
        self.subscriber = Dispatch::none();
    }

    fn under(&mut self, subscriber: Dispatch) {
        self.subscriber = subscriber;
    }

    fn plain<S>(&mut self, label: Label, mut service: S)
    where
        S: Service<u64, Response = u64> + 'static,
        S::Future: 'static,
    {
        self.make(label, |_| call_plain(&mut service));
    }

    fn http<S, B>(&mut self, label: Label, mut service: S)
    where
        S: Service<HttpRequest, Response = Response<B>> + 'static,
        S::Future: 'static,
        B: Body<Data = Bytes> + 'static,
    {
        self.make(label, |_| call_http(&mut service));
    }

    fn router(&mut self, label: Label, mut app: Router) {
        self.make(label, |_| call_router(&mut app));
    }

    fn keys<S>(&mut self, label: Label, keys: u64, mut service: S)
    where
        S: Service<u64, Response = u64> + 'static,
        S::Future: 'static,
    {
        self.make(label, |n| call_key(&mut service, n % keys));
    }

    fn contended<S>(&mut self, label: Label, mut service: S)
    where
        S: Service<u64, Response = u64> + Clone + Send + 'static,
    {
        self.make(label, |_| call_plain(&mut service));
    }
}

fn main() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut arguments = env::args().skip(1);
    let (Some(group), Some(name)) = (arguments.next(), arguments.next()) else {
        panic!("call GROUP NAME [CALLS]");
    };
    let calls = arguments
        .next()
        .map_or(1000, |calls| calls.parse().expect("a number"));
    let (title, subscriber) = (String::new(), Dispatch::none());
    catalogue(&mut Calls {
        group,
        name,
        calls,
        title,
        subscriber,
    });
}
