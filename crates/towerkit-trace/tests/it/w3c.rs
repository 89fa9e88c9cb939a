//! TR-01, TR-06: the cases of the W3C conformance suite of trace context (level 2, strict, as of June 2026), by their names there.
//!
//! As in the suite, a request with some fields goes into a service that calls on, and the fields of that further call are looked at.

use std::{collections::HashSet, convert::Infallible};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Empty;
use tower::{ServiceBuilder, ServiceExt};
use towerkit_http::HttpExt;
use towerkit_trace::{TraceLayer, TraceParent, TraceState};

const TRACE: &str = "12345678901234567890123456789012";
const SPAN: &str = "1234567890123456";
const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-00";

/// Sends a request with these fields through a server that makes `calls` further calls; the fields of each.
async fn relay(fields: &[(&str, &str)], calls: usize) -> Vec<HeaderMap> {
    let client = ServiceBuilder::new()
        .layer(TraceLayer::client().http())
        .service_fn(async |request: Request<()>| {
            let mut response = Response::new(Empty::<Bytes>::new());
            response.extensions_mut().insert(request.headers().clone());
            Ok::<_, Infallible>(response)
        });
    let server = ServiceBuilder::new()
        .layer(TraceLayer::server().http())
        .service_fn(async |_request: Request<()>| {
            let mut seen = Vec::new();
            for _ in 0..calls {
                let response = client.clone().oneshot(Request::new(())).await?;
                seen.push(response.extensions().get::<HeaderMap>().unwrap().clone());
            }
            let mut response = Response::new(Empty::<Bytes>::new());
            response.extensions_mut().insert(seen);
            Ok::<_, Infallible>(response)
        });
    let mut request = Request::new(());
    for (name, value) in fields {
        // A server trims optional white space, and names of headers ignore case.
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(name, value);
    }
    let response = server.oneshot(request).await.unwrap();
    response
        .extensions()
        .get::<Vec<HeaderMap>>()
        .unwrap()
        .clone()
}

fn parent_in(fields: &HeaderMap) -> TraceParent {
    let values: Vec<_> = fields.get_all("traceparent").iter().collect();
    assert_eq!(values.len(), 1);
    TraceParent::parse(values[0].as_bytes()).unwrap()
}

/// Sends one request; the context of the further call.
async fn sent_on(fields: &[(&str, &str)]) -> (TraceParent, Option<TraceState>) {
    let fields = relay(fields, 1).await.remove(0);
    let states = fields
        .get_all("tracestate")
        .iter()
        .map(HeaderValue::as_bytes);
    (parent_in(&fields), TraceState::parse(states))
}

/// Each of these values of `traceparent` is gone on from.
async fn goes_on(values: &[&str]) {
    for value in values {
        let (parent, _) = sent_on(&[("traceparent", value)]).await;
        assert_eq!(parent.trace.to_string(), TRACE, "{value:?}");
        assert_ne!(parent.span.to_string(), SPAN, "{value:?}");
    }
}

/// After each of these values of `traceparent` a new trace begins.
async fn begins_anew(values: &[&str]) {
    for value in values {
        let (parent, _) = sent_on(&[("traceparent", value)]).await;
        assert_ne!(parent.trace.to_string(), TRACE, "{value:?}");
    }
}

/// Returns the propagated `tracestate` for these values beside a valid `traceparent`.
async fn state_after(values: &[&str]) -> Option<String> {
    let states = values.iter().map(|value| ("tracestate", *value));
    let fields: Vec<_> = [("traceparent", PARENT)]
        .into_iter()
        .chain(states)
        .collect();
    let (parent, state) = sent_on(&fields).await;
    assert_eq!(parent.trace.to_string(), TRACE, "{values:?}");
    state.map(|state| state.as_str().to_owned())
}

/// Each of these lists is dropped.
async fn is_dropped(lists: &[&[&str]]) {
    for list in lists {
        assert_eq!(state_after(list).await, None, "{list:?}");
    }
}

macro_rules! cases {
    ($($(#[$doc:meta])* $name:ident: $body:block)+) => { $(
        $(#[$doc])*
        #[tokio::test]
        async fn $name() $body
    )+ };
}

cases! {
    both_traceparent_and_tracestate_missing: {
        let (_, state) = sent_on(&[]).await;
        assert_eq!(state, None);
    }

    traceparent_included_tracestate_missing: {
        goes_on(&[PARENT, &PARENT.replace("-00", "-01")]).await;
    }

    traceparent_duplicated: {
        let other = PARENT.replace("9012-", "9011-");
        let fields = [("traceparent", other.as_str()), ("traceparent", PARENT)];
        let (parent, _) = sent_on(&fields).await;
        assert!(!parent.trace.to_string().starts_with("1234567890123456789012345678901"));
    }

    traceparent_header_name: {
        for name in ["trace-parent", "trace.parent"] {
            let (parent, _) = sent_on(&[(name, PARENT)]).await;
            assert_ne!(parent.trace.to_string(), TRACE);
        }
    }

    traceparent_header_name_valid_casing: {
        for name in ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"] {
            let (parent, _) = sent_on(&[(name, PARENT)]).await;
            assert_eq!(parent.trace.to_string(), TRACE);
        }
    }

    traceparent_version_0x00: {
        let more = format!("{PARENT}-what-the-future-will-be-like");
        begins_anew(&[&format!("{PARENT}."), &more]).await;
    }

    traceparent_version_0xcc: {
        let later = PARENT.replacen("00", "cc", 1);
        goes_on(&[&later, &format!("{later}-what-the-future-will-be-like")]).await;
        begins_anew(&[&format!("{later}.what-the-future-will-be-like")]).await;
    }

    traceparent_version_0xff: {
        begins_anew(&[&PARENT.replacen("00", "ff", 1)]).await;
    }

    traceparent_version_illegal_characters: {
        begins_anew(&[&PARENT.replacen("00", ".0", 1), &PARENT.replacen("00", "0.", 1)]).await;
    }

    traceparent_version_too_long: {
        begins_anew(&[&PARENT.replacen("00", "000", 1), &PARENT.replacen("00", "0000", 1)]).await;
    }

    traceparent_version_too_short: {
        begins_anew(&[&PARENT.replacen("00", "0", 1)]).await;
    }

    traceparent_trace_id_all_zero: {
        let zero = PARENT.replace(TRACE, &"0".repeat(32));
        let (parent, _) = sent_on(&[("traceparent", &zero)]).await;
        assert_ne!(parent.trace.to_string(), "0".repeat(32));
    }

    traceparent_trace_id_illegal_characters: {
        begins_anew(&[
            &PARENT.replace(TRACE, ".2345678901234567890123456789012"),
            &PARENT.replace(TRACE, "1234567890123456789012345678901."),
            &PARENT.replace(TRACE, "1234567890123456789012345678901A"),
        ]).await;
    }

    traceparent_trace_id_too_long: {
        begins_anew(&[&PARENT.replace(TRACE, "123456789012345678901234567890123")]).await;
    }

    traceparent_trace_id_too_short: {
        begins_anew(&[&PARENT.replace(TRACE, "1234567890123456789012345678901")]).await;
    }

    traceparent_parent_id_all_zero: {
        begins_anew(&[&PARENT.replace("-1234567890123456-", "-0000000000000000-")]).await;
    }

    traceparent_parent_id_illegal_characters: {
        begins_anew(&[
            &PARENT.replace("-1234567890123456-", "-.234567890123456-"),
            &PARENT.replace("-1234567890123456-", "-123456789012345.-"),
        ]).await;
    }

    traceparent_parent_id_too_long: {
        begins_anew(&[&PARENT.replace("-1234567890123456-", "-12345678901234567-")]).await;
    }

    traceparent_parent_id_too_short: {
        begins_anew(&[&PARENT.replace("-1234567890123456-", "-123456789012345-")]).await;
    }

    traceparent_trace_flags_illegal_characters: {
        begins_anew(&[&PARENT.replace("6-00", "6-.0"), &PARENT.replace("6-00", "6-0.")]).await;
    }

    traceparent_trace_flags_too_long: {
        begins_anew(&[&PARENT.replace("6-00", "6-001")]).await;
    }

    traceparent_trace_flags_too_short: {
        begins_anew(&[&PARENT.replace("6-00", "6-1")]).await;
    }

    traceparent_ows_handling: {
        let values = ["{} ", "{}\t", " {}", "\t{}", "\t {} \t"].map(|form| form.replace("{}", PARENT));
        goes_on(&values.each_ref().map(String::as_str)).await;
    }

    tracestate_included_traceparent_missing: {
        for state in ["foo=1", "foo=1,bar=2"] {
            assert_eq!(sent_on(&[("tracestate", state)]).await.1, None);
        }
    }

    tracestate_included_traceparent_included: {
        assert_eq!(state_after(&["foo=1,bar=2"]).await.unwrap(), "foo=1,bar=2");
    }

    tracestate_header_name: {
        for name in ["trace-state", "trace.state"] {
            let (_, state) = sent_on(&[("traceparent", PARENT), (name, "foo=1")]).await;
            assert_eq!(state, None);
        }
    }

    tracestate_header_name_valid_casing: {
        for name in ["TraceState", "TrAcEsTaTe", "TRACESTATE"] {
            let (_, state) = sent_on(&[("traceparent", PARENT), (name, "foo=1")]).await;
            assert_eq!(state.unwrap().get("foo"), Some("1"));
        }
    }

    tracestate_empty_header: {
        assert_eq!(state_after(&[""]).await, None);
        assert_eq!(state_after(&["foo=1", ""]).await.unwrap(), "foo=1");
        assert_eq!(state_after(&["", "foo=1"]).await.unwrap(), "foo=1");
    }

    tracestate_multiple_headers_different_keys: {
        let state = state_after(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"]).await;
        assert_eq!(state.unwrap(), "foo=1,bar=2,rojo=1,congo=2,baz=3");
    }

    tracestate_duplicated_keys: {
        for values in [&["foo=1,foo=1"][..], &["foo=1,foo=2"], &["foo=1", "foo=1"], &["foo=1", "foo=2"]] {
            assert_eq!(state_after(values).await.unwrap(), values.join(","));
        }
    }

    tracestate_all_allowed_characters: {
        let key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
        let value: String = (b' '..=b'~').filter(|byte| !b",=".contains(byte)).map(char::from).collect();
        for key in [key.to_owned(), format!("{key}@a-z0-9_-*/")] {
            let member = format!("{key}={value}");
            assert_eq!(state_after(&[&member]).await.unwrap(), member);
        }
    }

    tracestate_ows_handling: {
        for list in ["foo=1 \t , \t bar=2, \t baz=3", "foo=1\t \t,\t \tbar=2,\t \tbaz=3"] {
            assert_eq!(state_after(&[list]).await.unwrap(), "foo=1,bar=2,baz=3");
        }
        for list in [" foo=1", "\tfoo=1", "foo=1 ", "foo=1\t", "\t foo=1 \t"] {
            assert_eq!(state_after(&[list]).await.unwrap(), "foo=1");
        }
    }

    tracestate_key_illegal_characters: {
        is_dropped(&[&["foo =1"], &["FOO=1"], &["foo.bar=1"]]).await;
    }

    tracestate_key_illegal_vendor_format: {
        for list in ["foo@=1,bar=2", "foo@@bar=1,bar=2", "foo@bar@baz=1,bar=2"] {
            assert_eq!(state_after(&[list]).await.unwrap(), list);
        }
        is_dropped(&[&["@foo=1,bar=2"]]).await;
    }

    tracestate_member_count_limit: {
        let members = |count: usize| (1..=count).map(|at| format!("bar{at:02}={at:02}")).collect::<Vec<_>>();
        let all = members(32);
        let [first, second] = [all[..10].join(","), all[10..].join(",")];
        let state = state_after(&[&first, &second]).await.unwrap();
        assert_eq!(state.split(',').count(), 32);
        let all = members(33);
        let [first, second] = [all[..10].join(","), all[10..].join(",")];
        assert_eq!(state_after(&[&first, &second]).await, None);
    }

    tracestate_key_length_limit: {
        let key = |tenant: usize, system: usize| format!("{}@{}=1", "t".repeat(tenant), "v".repeat(system));
        let simple = |length: usize| format!("{}=1", "z".repeat(length));
        for member in [simple(256), key(241, 14), key(242, 1), key(1, 15)] {
            let state = state_after(&["foo=1", &member]).await.unwrap();
            assert_eq!(state, format!("foo=1,{member}"));
        }
        for member in [simple(257), key(241, 15)] {
            assert_eq!(state_after(&["foo=1", &member]).await, None, "{member}");
        }
    }

    tracestate_value_illegal_characters: {
        is_dropped(&[&["foo=bar=baz"], &["foo=,bar=3"]]).await;
    }

    multiple_requests_with_valid_traceparent: {
        let sent = relay(&[("traceparent", PARENT)], 3).await;
        let parents: Vec<_> = sent.iter().map(parent_in).collect();
        assert!(parents.iter().all(|parent| parent.trace.to_string() == TRACE));
        let spans: HashSet<_> = parents.iter().map(|parent| parent.span).collect();
        assert_eq!(spans.len(), 3);
    }

    multiple_requests_without_traceparent: {
        let sent = relay(&[], 3).await;
        let spans: HashSet<_> = sent.iter().map(|fields| parent_in(fields).span).collect();
        assert_eq!(spans.len(), 3);
    }

    multiple_requests_with_illegal_traceparent: {
        let zero = PARENT.replace(TRACE, &"0".repeat(32));
        let sent = relay(&[("traceparent", &zero)], 3).await;
        let spans: HashSet<_> = sent.iter().map(|fields| parent_in(fields).span).collect();
        assert_eq!(spans.len(), 3);
    }

    /// The case of level 2.
    propagates_random_flag: {
        let (parent, _) = sent_on(&[("traceparent", &PARENT.replace("6-00", "6-02"))]).await;
        assert_eq!(parent.trace.to_string(), TRACE);
        assert!(parent.flags.is_random());
    }

    /// Not in the suite: level 2 does not propagate unknown flags.
    traceparent_flags_that_nobody_knows: {
        let (parent, _) = sent_on(&[("traceparent", &PARENT.replace("6-00", "6-ff"))]).await;
        assert_eq!(parent.flags.bits(), 0x03);
    }
}
