//! The codecs against a model of their grammar that shares no code with them.

use crate::message::Message;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};
use towerkit_trace::{
    Flags, Propagation, SpanId, TraceId, TraceParent, TraceState, extract, inject,
};

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

/// The members of a `tracestate` by the words of the specification.
fn model_of_state(text: &str) -> Option<Vec<String>> {
    let mut members: Vec<String> = Vec::new();
    for member in text.split(',') {
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue;
        }
        let equals = member.find('=')?;
        let (key, value) = (&member[..equals], &member[equals + 1..]);
        let key_is_good = match key.find('@') {
            None => simple(key, 256),
            Some(at) => simple(&key[..at], 241) && simple(&key[at + 1..], 14),
        };
        let value_is_good = !value.is_empty()
            && value.len() <= 256
            && value.chars().all(|c| (' '..='~').contains(&c) && c != '=')
            && !value.ends_with(' ');
        let is_new = members
            .iter()
            .all(|seen| !seen.starts_with(&format!("{key}=")));
        if !(key_is_good && value_is_good && is_new) {
            return None;
        }
        members.push(member.to_owned());
    }
    let fits = members.len() <= 32 && members.join(",").len() <= 512;
    (fits && !members.is_empty()).then_some(members)
}

fn simple(key: &str, most: usize) -> bool {
    let first = key.chars().next();
    first.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        && key.len() <= most
        && key
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-*/".contains(c))
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
    fn a_parent_is_read_as_it_was_written(parent in parent()) {
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
        text in "([a-c0_@]{0,3}=[a-c =~]{0,3}[ \t]?,?[ \t]?){0,4}|([a-z0-9]{1,3}@?[a-z]{1,12}=[!-+]{1,20},){0,35}"
    ) {
        let read = TraceState::parse([text.as_bytes()]);
        let model = model_of_state(&text).map(|members| members.join(","));
        prop_assert_eq!(read.as_ref().map(TraceState::as_str), model.as_deref(), "{}", text);
        if let Some(read) = read {
            prop_assert_eq!(TraceState::parse([read.as_str().as_bytes()]), Some(read));
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_what_is_read_can_be_written(
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
fn limits_are_those_of_the_specification() {
    let list = |members: usize, length: usize| {
        let first = (1..members).map(|member| format!("k{member}=v"));
        let mut list = first.collect::<Vec<_>>().join(",");
        if members > 1 {
            list.push(',');
        }
        let left = length.saturating_sub(list.len() + 2).clamp(1, 256);
        format!("{list}a={}", "v".repeat(left))
    };
    let parse = |text: &str| TraceState::parse([text.as_bytes()]);
    assert!(parse(&list(32, 0)).is_some());
    assert!(parse(&list(33, 0)).is_none());
    let longest = format!("b={},{}", "v".repeat(251), list(1, 258));
    assert_eq!(longest.len(), TraceState::MAX_LENGTH);
    assert_eq!(parse(&longest).unwrap().get("b").unwrap().len(), 251);
    assert!(parse(&format!("b=v{}", &longest[2..])).is_none());
    assert!(parse("a=1,a=2").is_none());
}
