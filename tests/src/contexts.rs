//! TR-01, TR-04: contexts are read by the rules of their format, and read back as they are written.

use towerkit_trace::{Propagation, TraceContext, TraceParent, extract, inject};

use crate::fields::Fields;

/// Trace, span, and whether it is recorded.
type Seen = (u128, u64, bool);

/// Reads the bytes as a `traceparent`.
///
/// # Panics
///
/// If it is not read by the rules of W3C trace context, or not back as it is written.
pub fn traceparent(data: &[u8]) {
    let parsed = TraceParent::parse(data);
    let expected = parent(&String::from_utf8_lossy(data));
    assert_eq!(parsed.map(seen), expected, "{}", data.escape_ascii());
    if let Some(parsed) = parsed {
        let text = parsed.to_string();
        assert_eq!(text.len(), 55);
        assert_eq!(TraceParent::parse(text.as_bytes()), Some(parsed));
    }
    if let Some(fields) = Fields::of([("traceparent", data)]) {
        let expected = fields.only("traceparent").and_then(|text| parent(&text));
        check(Propagation::W3c, &fields, expected);
    }
}

/// Reads the bytes as the field `b3`.
///
/// # Panics
///
/// If it is not read by the rules of B3, or not back as it is written.
pub fn b3_single(data: &[u8]) {
    if let Some(fields) = Fields::of([("b3", data)]) {
        check(Propagation::B3Single, &fields, single(&fields).context());
    }
}

/// Reads lines of `name: value` as the fields of B3, of which the single field wins.
///
/// # Panics
///
/// If they are not read by the rules of B3, or not back as they are written.
pub fn b3_multi(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(&line[..colon]).ok()?;
        Some((name, &line[colon + 1..]))
    });
    let Some(fields) = Fields::of(lines) else {
        return;
    };
    let several = several(&fields);
    check(Propagation::B3Multi, &fields, several.context());
    let both = [Propagation::B3Single, Propagation::B3Multi];
    let expected = match single(&fields) {
        B3::Nothing => several,
        single => single,
    };
    let found = extract(&both, &fields);
    assert_eq!(found.map(|found| seen(found.parent())), expected.context());
}

/// Reads in one format, and reads back what it writes.
fn check(format: Propagation, fields: &Fields, expected: Option<Seen>) {
    let found = extract(&[format], fields);
    let parent = found.as_ref().map(TraceContext::parent);
    assert_eq!(parent.map(seen), expected, "{fields:?}");
    if let Some(found) = found {
        let mut written = Fields::default();
        inject(&[format], &found, &mut written);
        let again = extract(&[format], &written).map(|found| seen(found.parent()));
        assert_eq!(again, expected, "{written:?}");
    }
}

fn seen(parent: TraceParent) -> Seen {
    let trace = u128::from_be_bytes(parent.trace.to_bytes());
    let span = u64::from_be_bytes(parent.span.to_bytes());
    (trace, span, parent.flags.is_sampled())
}

/// Digits of a number, in lower case and of this length.
fn number(text: &str, length: usize) -> Option<u128> {
    let is_digits = text.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
    let number = u128::from_str_radix(text, 16).ok();
    number.filter(|_| is_digits && text.len() == length)
}

/// The same, and not zero.
fn id(text: &str, length: usize) -> Option<u128> {
    number(text, length).filter(|id| *id != 0)
}

fn span(text: &str) -> Option<u64> {
    id(text, 16)?.try_into().ok()
}

/// Section 3.2 of W3C trace context, part by part.
fn parent(text: &str) -> Option<Seen> {
    let parts: Vec<_> = text.splitn(5, '-').collect();
    let (head, more) = (parts.get(..4)?, parts.get(4));
    let version = number(head[0], 2).filter(|version| *version != 255)?;
    if version == 0 && more.is_some() {
        return None;
    }
    let is_sampled = number(head[3], 2)? % 2 == 1;
    Some((id(head[1], 32)?, span(head[2])?, is_sampled))
}

enum B3 {
    Nothing,
    Decision,
    Context(Seen),
}

impl B3 {
    fn context(&self) -> Option<Seen> {
        match self {
            Self::Context(seen) => Some(*seen),
            Self::Nothing | Self::Decision => None,
        }
    }

    fn of(context: Option<Seen>) -> Self {
        context.map_or(Self::Nothing, Self::Context)
    }
}

fn trace(text: &str) -> Option<u128> {
    id(text, 16).or_else(|| id(text, 32))
}

fn single(fields: &Fields) -> B3 {
    let Some(text) = fields.first("b3") else {
        return B3::Nothing;
    };
    if matches!(&*text, "0" | "1" | "d") {
        return B3::Decision;
    }
    let parts: Vec<_> = text.split('-').collect();
    let decided = match parts.get(2) {
        Some(&"1" | &"d") => Some(true),
        None | Some(&"0") => Some(false),
        _ => None,
    };
    let parent_is_good = parts.get(3).is_none_or(|parent| span(parent).is_some());
    if !(2..=4).contains(&parts.len()) || !parent_is_good {
        return B3::Nothing;
    }
    let context = || Some((trace(parts[0])?, span(parts[1])?, decided?));
    B3::of(context())
}

fn several(fields: &Fields) -> B3 {
    let (flags, sampled) = (fields.first("x-b3-flags"), fields.first("x-b3-sampled"));
    let sampled = match (flags.as_deref(), sampled.as_deref()) {
        (Some("1"), _) | (_, Some("1" | "true")) => Some(true),
        (_, Some("0" | "false")) => Some(false),
        (_, Some(_)) => return B3::Nothing,
        (_, None) => None,
    };
    let ids = (fields.first("x-b3-traceid"), fields.first("x-b3-spanid"));
    match (ids, sampled) {
        ((Some(of), Some(by)), sampled) => {
            let context = || Some((trace(&of)?, span(&by)?, sampled.unwrap_or(false)));
            B3::of(context())
        }
        ((None, None), Some(_)) => B3::Decision,
        _ => B3::Nothing,
    }
}
