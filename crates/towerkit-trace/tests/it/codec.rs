//! The codecs against a model of their grammar that shares no code with them.

use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};
use towerkit_trace::{
    Flags, Propagation, SpanId, TraceId, TraceParent, TraceState, extract, inject,
};

use crate::message::Message;

fn config() -> Config {
    Config {
        cases: 10_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(10),
        ..Config::default()
    }
}

/// The value of a `traceparent` by the words of the specification: parts between dashes, as numbers.
fn model_of_parent(text: &str) -> Option<(u128, u64, u8)> {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags, more @ ..] = &parts[..] else {
        return None;
    };
    let lower = |part: &str, length: usize| {
        part.len() == length && part.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
    };
    if !(lower(version, 2) && lower(trace, 32) && lower(span, 16) && lower(flags, 2)) {
        return None;
    }
    if *version == "ff" || (*version == "00" && !more.is_empty()) {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).unwrap();
    let span = u64::from_str_radix(span, 16).unwrap();
    let flags = u8::from_str_radix(flags, 16).unwrap() % 4;
    (trace != 0 && span != 0).then_some((trace, span, flags))
}

/// The members of a `tracestate` that are passed on, by the words of the specification.
fn model_of_state(text: &str) -> Option<Vec<String>> {
    let mut members: Vec<String> = Vec::new();
    for member in text.split(',') {
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue;
        }
        let equals = member.find('=')?;
        let (key, value) = (&member[..equals], &member[equals + 1..]);
        let value_is_good = !value.is_empty()
            && value.len() <= 256
            && value.chars().all(|c| (' '..='~').contains(&c) && c != '=')
            && !value.ends_with(' ');
        if !(is_key(key) && value_is_good) {
            return None;
        }
        members.push(member.to_owned());
    }
    if members.is_empty() || members.len() > 32 {
        return None;
    }
    // In the order in which they go: the long ones, then the others, of both the last first. As few go as have to.
    let (long, short): (Vec<usize>, Vec<usize>) = (0..members.len())
        .rev()
        .partition(|at| members[*at].len() > 128);
    let order = [long, short].concat();
    let left = |gone: &[usize]| {
        let left = members
            .iter()
            .enumerate()
            .filter(|(at, _)| !gone.contains(at));
        left.map(|(_, member)| member.clone()).collect::<Vec<_>>()
    };
    let mut lists = (0..=order.len()).map(|count| left(&order[..count]));
    let fits = lists.find(|members| members.join(",").len() <= 512);
    fits.filter(|members| !members.is_empty())
}

fn is_key(key: &str) -> bool {
    let first = key.chars().next();
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-*/@".contains(c);
    first.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        && key.len() <= 256
        && key.chars().all(is_allowed)
}

fn parent() -> impl Strategy<Value = TraceParent> {
    let ids = (any::<u128>(), any::<u64>(), any::<u8>());
    ids.prop_map(|(trace, span, flags)| TraceParent {
        trace: TraceId::from_bytes(trace.max(1).to_be_bytes()).unwrap(),
        span: SpanId::from_bytes(span.max(1).to_be_bytes()).unwrap(),
        flags: Flags::from_bits(flags),
    })
}

/// Values that are nearly right: one change to a good one, or anything at all.
fn nearly() -> impl Strategy<Value = String> {
    let change = (
        parent(),
        "[0-9a-f]{2}",
        any::<prop::sample::Index>(),
        "[0-9a-fA-F -]",
        "(-[a-z0-9]{0,3})?|0",
    );
    let changed = change.prop_map(|(parent, version, at, to, more)| {
        let mut text = format!("{version}{}", &parent.to_string()[2..]);
        let at = at.index(text.len() * 2);
        if at < text.len() {
            text.replace_range(at..=at, &to);
        }
        text + &more
    });
    prop_oneof![4 => changed, 1 => "[0-9a-f-]{0,60}"]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_written_traceparent_is_read_back(parent in parent()) {
        let text = parent.to_string();
        prop_assert_eq!(TraceParent::parse(text.as_bytes()), Some(parent));
        let field = parent.to_field();
        prop_assert_eq!(field.as_str(), text);
    }

    #[test]
    fn a_parent_is_read_as_the_specification_says(text in nearly()) {
        let read = TraceParent::parse(text.as_bytes());
        let seen = read.map(|parent| (
            u128::from_be_bytes(parent.trace.to_bytes()),
            u64::from_be_bytes(parent.span.to_bytes()),
            parent.flags.bits(),
        ));
        prop_assert_eq!(seen, model_of_parent(&text), "{}", text);
    }

    #[test]
    fn a_state_is_read_as_the_specification_says(
        text in "([a-c0_@]{0,3}=[a-c =~]{0,3}[ \t]?,?[ \t]?){0,4}|([a-z0-9]{1,3}@?[a-z]{1,12}=[!-+]{1,20},){0,35}\
            |([a-z]{1,3}=[!-+]{1,12},|[a-z@]{1,120}=[!-+]{1,140},){0,16}"
    ) {
        let read = TraceState::parse([text.as_bytes()]);
        let model = model_of_state(&text).map(|members| members.join(","));
        prop_assert_eq!(read.as_ref().map(TraceState::as_str), model.as_deref(), "{}", text);
        if let Some(read) = read {
            prop_assert_eq!(TraceState::parse([read.as_str().as_bytes()]), Some(read));
        }
    }

    #[test]
    fn any_bytes_are_parsed_without_a_panic_and_written_back(
        value in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "[0-9a-f]{16,33}-[0-9a-f]{15,17}(-[01d2])?(-[0-9a-f]{16})?".prop_map(String::into_bytes),
        ],
        more in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        use Propagation::{B3Multi, B3Single, W3c};
        let good = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec();
        for (parent, baggage) in [(value.clone(), more.clone()), (good, value.clone())] {
            let fields = [
                ("traceparent", parent), ("tracestate", more.clone()), ("b3", value.clone()),
                ("x-b3-traceid", value.clone()), ("x-b3-spanid", more.clone()), ("baggage", baggage),
            ];
            let message = Message(fields.map(|(name, value)| (name.to_owned(), value)).to_vec());
            for format in [W3c, B3Single, B3Multi] {
                let Some(context) = extract(&[format], &message) else { continue };
                let mut out = Message::default();
                inject(&[W3c], &context, &mut out);
                prop_assert_eq!(extract(&[W3c], &out), Some(context));
            }
        }
    }
}

/// TR-06
#[test]
fn a_list_of_more_than_32_members_is_dropped() {
    let list = |members: usize| {
        (0..members)
            .map(|member| format!("k{member}=v"))
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(parsed(&list(32)).unwrap(), list(32));
    assert_eq!(parsed(&list(33)), None);
    assert_eq!(
        parsed(&"a=1,".repeat(33)),
        None,
        "those that repeat count as well"
    );
}

/// TR-06
#[test]
fn a_list_that_is_too_long_loses_long_members_first() {
    let member = |key: &str, length: usize| format!("{key}={}", "v".repeat(length - key.len() - 1));
    let passed_on = |members: &[(&str, usize)]| {
        let members: Vec<_> = members
            .iter()
            .map(|(key, length)| member(key, *length))
            .collect();
        let list = parsed(&members.join(",")).unwrap();
        let keys = list
            .split(',')
            .map(|member| member.split_once('=').unwrap().0);
        keys.map(str::to_owned).collect::<Vec<_>>()
    };
    // As long as it may be, commas included.
    assert_eq!(passed_on(&[("a", 255), ("b", 256)]), ["a", "b"]);
    assert_eq!(passed_on(&[("a", 256), ("b", 256)]), ["a"]);
    // The long ones go, and those behind them stay.
    assert_eq!(
        passed_on(&[("a", 100), ("b", 258), ("c", 100), ("d", 100)]),
        ["a", "c", "d"]
    );
    assert_eq!(
        passed_on(&[("a", 129), ("b", 128), ("c", 128), ("d", 128)]),
        ["b", "c", "d"]
    );
    // Of those that are not long, the last go.
    let even = [("a", 128), ("b", 128), ("c", 128), ("d", 128), ("e", 5)];
    assert_eq!(passed_on(&even), ["a", "b", "c"]);
    assert_eq!(
        parsed(&format!("{}={}", "k".repeat(256), "v".repeat(256))),
        None
    );
    assert_eq!(parsed("a=1,a=2").unwrap(), "a=1,a=2");
    assert_eq!(
        TraceState::parse([&b"a=1,a=2"[..]]).unwrap().get("a"),
        Some("1")
    );
}

fn parsed(text: &str) -> Option<String> {
    let state = TraceState::parse([text.as_bytes()])?;
    Some(state.as_str().to_owned())
}
