use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use tower::Layer;
use tower_http::trace::TraceLayer;
use towerkit_core::{Call, CallEnd, Observer, Policy, observe};
use towerkit_http::HttpExt;
use tracing::Span;

use crate::{Bug, http_calls, http_calls::Frames};

const PEER: &str = "tower-http";

pub(crate) fn bugs() -> Vec<Bug> {
    vec![
        body_errors_are_silent(),
        no_grpc_status_is_good(),
        cancellation_is_silent(),
    ]
}

fn body_errors_are_silent() -> Bug {
    let broken = || http_calls::answering(Frames::of([&b"hello"[..]]).then_break());
    let seen = Seen::default();
    let (failure, eos) = (seen.clone(), seen.clone());
    let layer = TraceLayer::new_for_http()
        .on_failure(move |_: _, _: Duration, _: &Span| failure.note(1))
        .on_eos(move |_: Option<&HeaderMap>, _: Duration, _: &Span| eos.note(100));
    http_calls::call(layer.layer(broken()), http_calls::get("/"));
    Bug {
        id: "TR-02",
        peer: PEER,
        what: "`TraceLayer::new_for_http`, the body of a 200 breaks off: told of a failure, of an end",
        expected: "1, 1",
        observed: seen.text(),
        ours: ended(|log| {
            http_calls::call(observe(log).http().layer(broken()), http_calls::get("/"));
        }),
    }
}

/// A gRPC answer without `grpc-status` is UNKNOWN.
fn no_grpc_status_is_good() -> Bug {
    let broken = || http_calls::answering(Frames::of([&b"hello"[..]]));
    let request = || {
        let mut request = http_calls::get("/package.Service/Method");
        let grpc = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(CONTENT_TYPE, grpc);
        request
    };
    let seen = Seen::default();
    let failure = seen.clone();
    let layer =
        TraceLayer::new_for_grpc().on_failure(move |_: _, _: Duration, _: &Span| failure.note(1));
    http_calls::call(layer.layer(broken()), request());
    Bug {
        id: "CB-12",
        peer: PEER,
        what: "`TraceLayer::new_for_grpc`, an answer without `grpc-status`: told of a failure",
        expected: "1",
        observed: (seen.0.load(Ordering::Relaxed) % 100).to_string(),
        ours: ended(|log| http_calls::call(observe(log).grpc().layer(broken()), request())),
    }
}

fn cancellation_is_silent() -> Bug {
    let seen = Seen::default();
    let (failure, eos, response) = (seen.clone(), seen.clone(), seen.clone());
    let layer = TraceLayer::new_for_http()
        .on_response(move |_: &http::Response<Frames>, _: Duration, _: &Span| response.note(100))
        .on_failure(move |_: _, _: Duration, _: &Span| failure.note(1))
        .on_eos(move |_: Option<&HeaderMap>, _: Duration, _: &Span| eos.note(100));
    http_calls::cancel(layer.layer(http_calls::silent()), http_calls::get("/"));
    Bug {
        id: "TR-03",
        peer: PEER,
        what: "`TraceLayer::new_for_http`, a call is cancelled: told of a failure, of an end",
        expected: "an end",
        observed: seen.text(),
        ours: ended(|log| {
            let service = observe(log).http().layer(http_calls::silent());
            http_calls::cancel(service, http_calls::get("/"));
        }),
    }
}

/// Counts what a layer is told: failures in ones, ends in hundreds.
#[derive(Clone, Default)]
struct Seen(Arc<AtomicU32>);

impl Seen {
    fn note(&self, what: u32) {
        self.0.fetch_add(what, Ordering::Relaxed);
    }

    fn text(&self) -> String {
        let seen = self.0.load(Ordering::Relaxed);
        format!("{}, {}", seen % 100, seen / 100)
    }
}

/// Notes the outcome of a call at its end, in the order of declaration, from 1.
#[derive(Clone, Default)]
struct Outcomes(Arc<AtomicU32>);

impl Policy for Outcomes {
    type CallState = ();

    fn finish(&self, (): (), end: &CallEnd) {
        self.0.store(end.outcome() as u32 + 1, Ordering::Relaxed);
    }
}

impl<Req> Observer<Req> for Outcomes {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

/// Runs a call under an observer of towerkit; the outcome that it was told.
fn ended(run: impl FnOnce(Outcomes)) -> String {
    let outcomes = Outcomes::default();
    run(outcomes.clone());
    let told = outcomes.0.load(Ordering::Relaxed) as usize;
    match told.checked_sub(1) {
        Some(outcome) => towerkit_core::Outcome::ALL[outcome].to_string(),
        None => "nothing".to_owned(),
    }
}
