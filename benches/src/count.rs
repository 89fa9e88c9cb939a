use std::io::Write;

use axum::Router;
use bytes::Bytes;
use http::Response;
use http_body::Body;
use tower::Service;
use tracing::{Dispatch, dispatcher::with_default};

use crate::{HttpRequest, Label, Visit, call_http, call_plain, call_router};

/// Calls that are made before the count begins, to fill tables and to reach the steady state.
const WARM: u32 = 1_000;
/// Calls that are counted.
const CALLS: u32 = 1_000;

/// Counts what each case of the catalogue allocates, by a function that counts what another allocates.
#[derive(Debug)]
pub struct Count<F, W> {
    measure: F,
    out: W,
    title: String,
    subscriber: Option<Dispatch>,
}

impl<F: Fn(&mut dyn FnMut()) -> u64, W: Write> Count<F, W> {
    /// Writes a line for every case: group, name, and allocations of one call, with tabs between them.
    pub fn new(measure: F, out: W) -> Self {
        Self {
            measure,
            out,
            title: String::new(),
            subscriber: None,
        }
    }

    fn count(&mut self, label: Label, call: impl FnMut()) {
        let measure = &self.measure;
        let each = match &self.subscriber {
            Some(subscriber) => with_default(subscriber, || each(measure, call)),
            None => each(measure, call),
        };
        writeln!(self.out, "{}\t{}\t{each}", self.title, label.name)
            .expect("the output takes a line");
    }
}

/// Returns what one call allocates.
fn each(measure: impl Fn(&mut dyn FnMut()) -> u64, mut call: impl FnMut()) -> f64 {
    for _ in 0..WARM {
        call();
    }
    let total = measure(&mut || {
        for _ in 0..CALLS {
            call();
        }
    });
    total as f64 / f64::from(CALLS)
}

impl<F: Fn(&mut dyn FnMut()) -> u64, W: Write> Visit for Count<F, W> {
    fn group(&mut self, title: String) {
        self.title = title;
        self.subscriber = None;
    }

    fn under(&mut self, subscriber: Dispatch) {
        self.subscriber = Some(subscriber);
    }

    fn plain<S>(&mut self, label: Label, mut service: S)
    where
        S: Service<u64, Response = u64> + 'static,
        S::Future: 'static,
    {
        self.count(label, || call_plain(&mut service));
    }

    fn http<S, B>(&mut self, label: Label, mut service: S)
    where
        S: Service<HttpRequest, Response = Response<B>> + 'static,
        S::Future: 'static,
        B: Body<Data = Bytes> + 'static,
    {
        self.count(label, || call_http(&mut service));
    }

    fn router(&mut self, label: Label, mut app: Router) {
        self.count(label, || call_router(&mut app));
    }

    fn keys<S>(&mut self, label: Label, _keys: u64, service: S)
    where
        S: Service<u64, Response = u64> + 'static,
        S::Future: 'static,
    {
        // A key that is known costs the same, whichever it is.
        self.plain(label, service);
    }

    fn contended<S>(&mut self, _label: Label, _service: S)
    where
        S: Service<u64, Response = u64> + Clone + Send + 'static,
    {
        // What it allocates is counted where one thread calls it.
    }
}
