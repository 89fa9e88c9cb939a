//! The propagated context: baggage, scopes and panics.

use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    panic::catch_unwind,
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Empty;
use tower::{ServiceBuilder, ServiceExt};
use towerkit_core::{
    BoxError, Call, CallEnd, IntoPolicy, LayerExt, Outcome, Policy, RunPolicy, TraceIds,
};
use towerkit_http::{Http, HttpExt};
use towerkit_trace::{
    Baggage, Propagation, Sampler, TraceContext, TraceLayer, TraceParent, extract, inject,
};

use crate::message::Message;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn parent() -> TraceParent {
    TraceParent::parse(PARENT.as_bytes()).unwrap()
}

/// Runs a request that is passed on as it is through a server and a client; the fields that go out.
async fn passed_on(
    server: TraceLayer,
    client: TraceLayer,
    fields: &[(&'static str, &str)],
) -> HeaderMap {
    let client =
        ServiceBuilder::new()
            .layer(client.http())
            .service_fn(async |request: Request<()>| {
                let mut response = Response::new(Empty::<bytes::Bytes>::new());
                *response.headers_mut() = request.headers().clone();
                Ok::<_, BoxError>(response)
            });
    let server = ServiceBuilder::new()
        .layer(server.http())
        .service_fn(move |request: Request<()>| client.clone().oneshot(request));
    let mut request = Request::new(());
    for (name, value) in fields {
        request
            .headers_mut()
            .append(*name, HeaderValue::from_str(value).unwrap());
    }
    server.oneshot(request).await.unwrap().headers().clone()
}

fn value<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = fields.get_all(name).iter();
    let value = values.next().map(|value| value.to_str().unwrap());
    assert!(values.next().is_none(), "{name} is there twice");
    value
}

#[tokio::test]
async fn baggage_is_propagated_only_by_layers_that_enable_it() {
    let fields = [
        ("traceparent", PARENT),
        ("tracestate", "a=1"),
        ("baggage", "user=ann"),
        ("baggage", "plan = gold;ttl=1, bad"),
    ];
    let with = passed_on(
        TraceLayer::server().baggage(),
        TraceLayer::client().baggage(),
        &fields,
    )
    .await;
    assert_eq!(value(&with, "baggage"), Some("user=ann,plan = gold;ttl=1"));
    assert_eq!(value(&with, "tracestate"), Some("a=1"));

    let unread = passed_on(
        TraceLayer::server(),
        TraceLayer::client().baggage(),
        &fields,
    )
    .await;
    assert_eq!(value(&unread, "baggage"), None);
    assert_eq!(value(&unread, "tracestate"), Some("a=1"));

    let without_parent = passed_on(
        TraceLayer::server().baggage(),
        TraceLayer::client().baggage(),
        &fields[2..3],
    )
    .await;
    assert_eq!(value(&without_parent, "baggage"), Some("user=ann"));
}

/// TR-05
#[tokio::test]
async fn no_context_of_an_untrusted_caller_is_propagated() {
    for sampler in [Sampler::always(), Sampler::never()] {
        let server = TraceLayer::server().untrusted().baggage().sampler(sampler);
        let fields = [
            ("traceparent", PARENT),
            ("tracestate", "a=1"),
            ("baggage", "user=ann"),
        ];
        let sent = passed_on(server, TraceLayer::client().baggage(), &fields).await;
        let sent_parent = TraceParent::parse(value(&sent, "traceparent").unwrap().as_bytes());
        assert_ne!(sent_parent.unwrap().trace, parent().trace);
        assert_eq!(value(&sent, "tracestate"), None);
        assert_eq!(value(&sent, "baggage"), None);
    }
}

#[test]
fn baggage_is_bounded() {
    let read = |values: &[String]| {
        let mut message = Message::of(&[("traceparent", PARENT)]);
        message.0.extend(
            values
                .iter()
                .map(|value| ("baggage".to_owned(), value.clone().into_bytes())),
        );
        let context = extract(&[Propagation::W3c], &message).unwrap();
        context.baggage().cloned()
    };
    let members: Vec<_> = (0..Baggage::MAX_MEMBERS + 1)
        .map(|member| format!("k{member}=v"))
        .collect();
    for values in [members.clone(), vec![members.join(",")]] {
        let baggage = read(&values).unwrap();
        assert_eq!(baggage.get("k63"), Some("v"));
        assert_eq!(baggage.get("k64"), None);
    }
    let exact = format!("k={}", "v".repeat(Baggage::MAX_LENGTH - 2));
    assert_eq!(read(std::slice::from_ref(&exact)).unwrap().as_str(), exact);
    assert_eq!(read(&[exact + "v"]), None);
    for bad in ["", "=v", "k", "k y=v", "k=\u{e9}", "k=\u{1}", ",,,", "k(=v"] {
        assert_eq!(read(&[bad.to_owned()]), None, "{bad:?}");
    }
    let shown = format!("{:?}", read(&["password=secret".to_owned()]));
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn baggage_is_found_by_its_key() {
    let message = Message::of(&[
        ("traceparent", PARENT),
        ("baggage", "a = 1 ;p=q , b=2%20,a=3,c="),
    ]);
    let context = extract(&[Propagation::W3c], &message).unwrap();
    let baggage = context.baggage().unwrap();
    assert_eq!(baggage.get("a"), Some("1"));
    assert_eq!(baggage.get("b"), Some("2%20"));
    assert_eq!(baggage.get("c"), Some(""));
    assert_eq!(baggage.get("p"), None);
    let mut out = Message::default();
    inject(&[Propagation::W3c], &context, &mut out);
    assert_eq!(extract(&[Propagation::W3c], &out), Some(context));
}

#[tokio::test]
async fn the_context_of_a_call_is_visible_only_in_that_call() {
    let service = ServiceBuilder::new()
        .layer(TraceLayer::internal().plain("inner"))
        .service_fn(async |()| Ok::<_, BoxError>(TraceContext::current().unwrap()));
    let message = Message::of(&[("traceparent", PARENT), ("tracestate", "a=1")]);
    let context = extract(&[Propagation::W3c], &message).unwrap();
    let inner = context
        .clone()
        .scope(service.clone().oneshot(()))
        .await
        .unwrap();
    assert_eq!(inner.state(), context.state());
    assert_eq!(inner.parent().trace, parent().trace);
    assert_ne!(inner.parent().span, parent().span);
    assert_eq!(service.oneshot(()).await.unwrap().state(), None);
    assert_eq!(TraceContext::current(), None);
}

/// Notes whether it is dropped in a context.
struct Dropped<'a>(&'a mut Vec<Option<TraceIds>>);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.push(TraceIds::current());
    }
}

#[test]
fn a_future_in_a_scope_is_polled_and_dropped_in_it() {
    let mut cx = Context::from_waker(Waker::noop());
    for polls in 0..3 {
        let mut seen = Vec::new();
        {
            let noted = Dropped(&mut seen);
            let mut pending = 1;
            let future = async move {
                let noted = noted;
                poll_fn(|_| {
                    noted_in(&noted);
                    pending -= 1;
                    if pending < 0 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
            };
            let mut scoped = pin!(TraceContext::new(parent()).scope(future));
            for _ in 0..polls {
                if scoped.as_mut().poll(&mut cx).is_ready() {
                    break;
                }
            }
        }
        assert_eq!(seen.len(), 1, "after {polls} polls");
        assert_eq!(seen[0].unwrap().trace, parent().trace.to_bytes());
        assert_eq!(TraceIds::current(), None);
    }
}

fn noted_in(_noted: &Dropped<'_>) {
    assert_eq!(TraceContext::current(), Some(TraceContext::new(parent())));
}

#[test]
fn a_panic_in_a_scope_leaves_it() {
    let message = Message::of(&[("traceparent", PARENT), ("tracestate", "a=1")]);
    let context = extract(&[Propagation::W3c], &message).unwrap();
    let mut scoped = pin!(context.scope(async { panic!("inside") }));
    let mut cx = Context::from_waker(Waker::noop());
    let poll = AssertUnwindSafe(|| scoped.as_mut().poll(&mut cx));
    assert!(catch_unwind(poll).is_err());
    assert_eq!(TraceContext::current(), None);
}

/// A poll that panics leaves the thread as it was, whether the call is recorded or not, or goes on from a context.
#[test]
fn a_panic_in_a_call_restores_the_context() {
    const NOT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let http = Http::new();
    for (sampler, parent) in [
        (Sampler::always(), None),
        (Sampler::never(), None),
        (Sampler::always(), Some(NOT)),
    ] {
        let policy = TraceLayer::server().sampler(sampler).into_policy();
        let mut request = Request::new(());
        if let Some(parent) = parent {
            let parent = HeaderValue::from_static(parent);
            request.headers_mut().insert("traceparent", parent);
        }
        let mut state = RunPolicy::start(&policy, &mut Call::new(&mut request, &http)).unwrap();
        let panics =
            AssertUnwindSafe(|| Policy::wrap_poll(&policy, &mut state, || panic!("inside")));
        assert!(catch_unwind(panics).is_err());
        assert_eq!(TraceIds::current(), None);
        Policy::finish(&policy, state, &CallEnd::new(Outcome::Success));
        assert_eq!(TraceIds::current(), None);
    }
}
