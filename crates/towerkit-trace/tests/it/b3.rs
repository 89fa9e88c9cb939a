//! TR-04: B3 in one field and in several, by the vectors of openzipkin/b3-propagation and the tests of zipkin-go.

use http::Request;
use tower::{ServiceBuilder, ServiceExt};
use towerkit_core::{BoxError, TraceIds};
use towerkit_http::HttpExt;
use towerkit_trace::{Propagation, Sampler, TraceLayer, extract, inject};

use crate::message::Message;

const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const SPAN: &str = "e457b5a2e4d86bd1";

use Propagation::{B3Multi, B3Single, W3c};

/// Returns the ids of a call with these headers, in a layer that samples only by the decision of the caller.
async fn ids(formats: &[Propagation], fields: &[(&str, &str)]) -> TraceIds {
    let layer = TraceLayer::server().sampler(Sampler::never());
    let service = ServiceBuilder::new()
        .layer(layer.propagation(formats).http())
        .service_fn(async |_request: Request<()>| {
            let mut response = http::Response::new(http_body_util::Empty::<bytes::Bytes>::new());
            let ids = TraceIds::current().unwrap();
            response.extensions_mut().insert((ids.trace, ids.flags));
            Ok::<_, BoxError>(response)
        });
    let mut request = Request::builder();
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    let (trace, flags) = *response.extensions().get::<([u8; 16], u8)>().unwrap();
    TraceIds {
        trace,
        span: [1; 8],
        flags,
    }
}

fn hex(trace: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(trace))
}

/// Whether a call goes on from [`TRACE`], and whether it is recorded.
async fn single(value: &str) -> (bool, bool) {
    let ids = ids(&[B3Single], &[("b3", value)]).await;
    (hex(ids.trace) == TRACE, ids.is_sampled())
}

#[tokio::test]
async fn one_field_has_the_ids_the_decision_and_the_parent() {
    let value = |rest: &str| format!("{TRACE}-{SPAN}{rest}");
    for (rest, is_sampled) in [
        ("", false),
        ("-0", false),
        ("-1", true),
        ("-d", true),
        ("-1-05e3ac9a4f6e3b90", true),
        ("-0-05e3ac9a4f6e3b90", false),
    ] {
        assert_eq!(single(&value(rest)).await, (true, is_sampled), "{rest}");
    }
}

#[tokio::test]
async fn a_decision_alone_begins_a_trace_that_follows_it() {
    for (value, is_sampled) in [("0", false), ("1", true), ("d", true)] {
        assert_eq!(single(value).await, (false, is_sampled), "{value}");
    }
}

#[tokio::test]
async fn one_field_that_breaks_a_rule_begins_a_trace() {
    let good = format!("{TRACE}-{SPAN}");
    for value in [
        "",
        "-",
        "-1",
        "2",
        "x",
        TRACE,
        &good[..good.len() - 1],
        &format!("{good}-"),
        &format!("{good}-2"),
        &format!("{good}-true"),
        &format!("{good}-1-"),
        &format!("{good}-1-05e3ac9a4f6e3b9"),
        &format!("{good}-1-0000000000000000"),
        &format!("{good}-1-05e3ac9a4f6e3b90-1"),
        &format!("{TRACE}0-{SPAN}"),
        &format!("{}-{SPAN}", TRACE.to_uppercase()),
        &format!("{}-{SPAN}-1", "0".repeat(32)),
        &format!("{TRACE}-{}-1", "0".repeat(16)),
        &format!("{TRACE}-g457b5a2e4d86bd1-1"),
    ] {
        assert_eq!(single(value).await, (false, false), "{value:?}");
    }
}

#[tokio::test]
async fn a_short_trace_id_is_the_right_half_of_a_long_one() {
    let expected = format!("{:0>32}", &TRACE[16..]);
    let value = format!("{}-{SPAN}-1", &TRACE[16..]);
    let seen = ids(&[B3Single], &[("b3", &value)]).await;
    assert_eq!(hex(seen.trace), expected);
    let fields = [("x-b3-traceid", &TRACE[16..]), ("x-b3-spanid", SPAN)];
    assert_eq!(hex(ids(&[B3Multi], &fields).await.trace), expected);
}

#[tokio::test]
async fn several_fields_have_the_ids_and_the_decision() {
    let ids_of = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
    for (rest, is_sampled) in [
        (&[][..], false),
        (&[("x-b3-sampled", "0")], false),
        (&[("x-b3-sampled", "1")], true),
        (&[("x-b3-sampled", "true")], true),
        (&[("x-b3-sampled", "false")], false),
        (&[("x-b3-flags", "1")], true),
        (&[("x-b3-flags", "0")], false),
        (&[("x-b3-sampled", "0"), ("x-b3-flags", "1")], true),
        (
            &[
                ("x-b3-parentspanid", "05e3ac9a4f6e3b90"),
                ("x-b3-sampled", "1"),
            ],
            true,
        ),
    ] {
        let fields = [&ids_of[..], rest].concat();
        let seen = ids(&[B3Multi], &fields).await;
        assert_eq!(
            (&*hex(seen.trace), seen.is_sampled()),
            (TRACE, is_sampled),
            "{rest:?}"
        );
    }
    for (fields, is_sampled) in [
        (&[("x-b3-sampled", "0")][..], false),
        (&[("x-b3-sampled", "1")], true),
        (&[("x-b3-flags", "1")], true),
        // Headers that break a rule.
        (&[("x-b3-sampled", "d")], false),
        (&[("x-b3-traceid", TRACE)], false),
        (&[("x-b3-spanid", SPAN), ("x-b3-sampled", "1")], false),
        (
            &[
                ("x-b3-traceid", TRACE),
                ("x-b3-spanid", "1"),
                ("x-b3-sampled", "1"),
            ],
            false,
        ),
        (
            &[
                ("x-b3-traceid", TRACE),
                ("x-b3-spanid", SPAN),
                ("x-b3-sampled", "2"),
            ],
            false,
        ),
    ] {
        let seen = ids(&[B3Multi], fields).await;
        assert_ne!(hex(seen.trace), TRACE, "{fields:?}");
        assert_eq!(seen.is_sampled(), is_sampled, "{fields:?}");
    }
}

/// As Brave and zipkin-go read them.
#[tokio::test]
async fn the_first_value_of_a_repeated_header_counts() {
    const OTHER: &str = "463ac35c9f6413ad48485a3953bb6124";
    let value = |trace: &str, decision: &str| format!("{trace}-{SPAN}-{decision}");
    let (first, second) = (value(TRACE, "1"), value(OTHER, "0"));
    let seen = ids(&[B3Single], &[("b3", &first), ("b3", &second)]).await;
    assert_eq!((&*hex(seen.trace), seen.is_sampled()), (TRACE, true));
    let seen = ids(&[B3Single], &[("b3", "bad"), ("b3", &first)]).await;
    assert_ne!(hex(seen.trace), TRACE);

    let fields = [
        ("x-b3-traceid", TRACE),
        ("x-b3-traceid", OTHER),
        ("x-b3-spanid", SPAN),
        ("x-b3-spanid", "bad"),
        ("x-b3-sampled", "1"),
        ("x-b3-sampled", "0"),
        ("x-b3-flags", "0"),
        ("x-b3-flags", "1"),
    ];
    let seen = ids(&[B3Multi], &fields).await;
    assert_eq!((&*hex(seen.trace), seen.is_sampled()), (TRACE, true));
    let seen = ids(&[B3Multi], &[("x-b3-sampled", "0"), ("x-b3-sampled", "1")]).await;
    assert!(!seen.is_sampled());
}

#[tokio::test]
async fn the_first_format_that_is_there_wins() {
    let other = "463ac35c9f6413ad48485a3953bb6124";
    let value = format!("{TRACE}-{SPAN}-1");
    let fields = [
        ("b3", &*value),
        ("x-b3-traceid", other),
        ("x-b3-spanid", SPAN),
    ];
    assert_eq!(hex(ids(&[B3Single, B3Multi], &fields).await.trace), TRACE);
    assert_eq!(hex(ids(&[B3Multi, B3Single], &fields).await.trace), other);
    // A header that breaks a rule is ignored.
    let fields = [
        ("b3", "bad"),
        ("x-b3-traceid", other),
        ("x-b3-spanid", SPAN),
    ];
    assert_eq!(hex(ids(&[B3Single, B3Multi], &fields).await.trace), other);
    assert_ne!(hex(ids(&[W3c], &fields).await.trace), other);
}

#[test]
fn contexts_are_written_as_they_are_read() {
    let all = [W3c, B3Single, B3Multi];
    for decision in ["0", "1"] {
        let value = format!("{TRACE}-{SPAN}-{decision}");
        let context = extract(&[B3Single], &Message::of(&[("b3", &value)])).unwrap();
        let mut message = Message::of(&[
            ("x-b3-flags", "1"),
            ("x-b3-parentspanid", SPAN),
            ("b3", "0"),
        ]);
        inject(&all, &context, &mut message);
        assert_eq!(message.field("b3"), Some(&*value));
        assert_eq!(message.field("x-b3-traceid"), Some(TRACE));
        assert_eq!(message.field("x-b3-spanid"), Some(SPAN));
        assert_eq!(message.field("x-b3-sampled"), Some(decision));
        assert_eq!(message.field("x-b3-flags"), None);
        assert_eq!(message.field("x-b3-parentspanid"), None);
        let w3c = format!("00-{TRACE}-{SPAN}-0{decision}");
        assert_eq!(message.field("traceparent"), Some(&*w3c));
        for format in all {
            assert_eq!(extract(&[format], &message).as_ref(), Some(&context));
        }
    }
    assert_eq!(extract(&[B3Single], &Message::of(&[("b3", "1")])), None);
}
