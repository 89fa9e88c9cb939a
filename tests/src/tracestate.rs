//! TR-06: a list that breaks a rule is dropped, and the `traceparent` is kept.

use std::collections::HashSet;

use towerkit_trace::{Propagation, TraceState, extract, inject};

use crate::fields::Fields;

const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Reads the lines of the bytes as the values of a `tracestate`.
///
/// # Panics
///
/// If they are not read by the rules of W3C trace context, or not back as they are written.
pub fn tracestate(data: &[u8]) {
    let values = || data.split(|byte| *byte == b'\n');
    let parsed = TraceState::parse(values());
    let pairs = values().map(|value| ("tracestate", value));
    let Some(fields) = Fields::of(pairs.chain([("traceparent", PARENT)])) else {
        return;
    };
    let expected = list(values());
    let text = parsed.as_ref().map(TraceState::as_str);
    assert_eq!(text, expected.as_deref(), "{}", data.escape_ascii());
    let found = extract(&[Propagation::W3c], &fields).expect("the traceparent is good");
    assert_eq!(found.state(), parsed.as_ref());
    assert_eq!(found.parent().to_string().as_bytes(), PARENT);

    let mut written = Fields::default();
    inject(&[Propagation::W3c], &found, &mut written);
    assert_eq!(extract(&[Propagation::W3c], &written), Some(found));
    let mut keys = HashSet::new();
    for member in expected.iter().flat_map(|list| list.split(',')) {
        let (key, value) = member.split_once('=').expect("a member");
        if keys.insert(key) {
            let found = parsed.as_ref().and_then(|state| state.get(key));
            assert_eq!(found, Some(value));
        }
    }
}

/// Section 3.3.1, of all values together, as they are passed on.
fn list<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut members: Vec<&str> = Vec::new();
    for value in values {
        // Bytes beyond ASCII are in no member.
        let value = std::str::from_utf8(value).unwrap_or("\u{80}");
        for member in value.split(',') {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            member
                .split_once('=')
                .filter(|(key, value)| is_good(key, value))?;
            members.push(member);
        }
    }
    if !(1..=32).contains(&members.len()) {
        return None;
    }
    // Section 3.3.1.5: whole members go, those over 128 bytes before others, and from the end.
    while members.join(",").len() > 512 {
        let long = members.iter().rposition(|member| member.len() > 128);
        members.remove(long.unwrap_or(members.len() - 1));
    }
    Some(members.join(","))
}

fn is_good(key: &str, value: &str) -> bool {
    let is_simple = |c: char| matches!(c, 'a'..='z' | '0'..='9');
    let key_is_good = key.starts_with(is_simple)
        && key.len() <= 256
        && key.chars().all(|c| is_simple(c) || "_-*/@".contains(c));
    let is_printable = |c: char| (' '..='~').contains(&c) && c != '=';
    key_is_good && (1..=256).contains(&value.len()) && value.chars().all(is_printable)
}
