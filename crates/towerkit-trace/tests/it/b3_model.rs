//! TR-04: B3 against a model of its grammar that shares no code with the parser.

use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};
use towerkit_trace::{Propagation, extract, inject};

use Propagation::{B3Multi, B3Single, W3c};

use crate::message::Message;

fn config() -> Config {
    Config {
        cases: 10_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(14),
        ..Config::default()
    }
}

/// The trace, the span, and whether it is recorded.
type Context = (u128, u64, bool);

/// Lower-case digits of one of these lengths, as a number that is not zero.
fn number(text: &str, lengths: &[usize]) -> Option<u128> {
    let digits = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    let is_good = lengths.contains(&text.len()) && text.chars().all(digits);
    let number = is_good.then(|| u128::from_str_radix(text, 16).unwrap());
    number.filter(|number| *number > 0)
}

fn ids(trace: &str, span: &str) -> Option<(u128, u64)> {
    let span = u64::try_from(number(span, &[16])?).unwrap();
    Some((number(trace, &[16, 32])?, span))
}

/// `{trace}-{span}[-{0|1|d}[-{parent}]]`, from the back.
fn model_of_single(text: &str) -> Option<Context> {
    let mut parts: Vec<&str> = text.split('-').collect();
    if parts.len() == 4 {
        number(parts.pop()?, &[16])?;
    }
    let is_recorded = match parts.len() {
        3 => match parts.pop()? {
            "1" | "d" => true,
            "0" => false,
            _ => return None,
        },
        _ => false,
    };
    let [trace, span] = parts[..] else {
        return None;
    };
    let (trace, span) = ids(trace, span)?;
    Some((trace, span, is_recorded))
}

fn model_of_multi(
    trace: Option<&str>,
    span: Option<&str>,
    sampled: Option<&str>,
    flags: Option<&str>,
) -> Option<Context> {
    let (trace, span) = ids(trace?, span?)?;
    let is_recorded = match sampled {
        _ if flags == Some("1") => true,
        None | Some("0" | "false") => false,
        Some("1" | "true") => true,
        Some(_) => return None,
    };
    Some((trace, span, is_recorded))
}

fn read(format: Propagation, message: &Message) -> Option<Context> {
    let parent = extract(&[format], message)?.parent();
    let trace = u128::from_be_bytes(parent.trace.to_bytes());
    let span = u64::from_be_bytes(parent.span.to_bytes());
    Some((trace, span, parent.flags.is_sampled()))
}

/// Digits of the right length, mostly.
fn id(length: usize) -> impl Strategy<Value = String> {
    (any::<u128>(), 0..12_u8).prop_map(move |(number, kind)| {
        let text = &format!("{number:032x}")[32 - length..];
        match kind {
            0 => "0".repeat(length),
            1 => text[1..].to_owned(),
            2 => format!("{text}0"),
            3 => text.to_uppercase(),
            4 => format!("g{}", &text[1..]),
            5 => format!("{} ", &text[1..]),
            _ => text.to_owned(),
        }
    })
}

fn trace() -> impl Strategy<Value = String> {
    prop_oneof![2 => id(32), 1 => id(16)]
}

/// There or not.
fn maybe(text: impl Strategy<Value = String>) -> impl Strategy<Value = Option<String>> {
    prop::option::weighted(0.8, text)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn one_field_is_read_as_the_specification_says(
        (trace, span, parent) in (trace(), id(16), id(16)),
        decision in "-[01d]|-[2D]|-|-01|",
        has_parent in any::<bool>(),
        more in "(-[0-9a-f]{0,2})?",
    ) {
        let parent = if has_parent { format!("-{parent}") } else { String::new() };
        let text = format!("{trace}-{span}{decision}{parent}{more}");
        let seen = read(B3Single, &Message::of(&[("b3", &text)]));
        prop_assert_eq!(seen, model_of_single(&text), "{}", text);
    }

    #[test]
    fn several_fields_are_read_as_the_specification_says(
        (trace, span) in (maybe(trace()), maybe(id(16))),
        sampled in maybe("[01]|true|false|d|True|".boxed()),
        flags in maybe("[01]|d|11".boxed()),
    ) {
        let names = ["x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"];
        let values = [&trace, &span, &sampled, &flags];
        let fields = names.into_iter().zip(values);
        let fields: Vec<_> = fields.filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
        let seen = read(B3Multi, &Message::of(&fields));
        let [trace, span, sampled, flags] = values.map(Option::as_deref);
        prop_assert_eq!(seen, model_of_multi(trace, span, sampled, flags), "{:?}", fields);
    }

    #[test]
    fn any_context_that_is_written_is_read_back(text in (trace(), id(16), "-[01d]").prop_map(|(a, b, c)| format!("{a}-{b}{c}"))) {
        let Some(context) = extract(&[B3Single], &Message::of(&[("b3", &text)])) else {
            return Ok(());
        };
        for format in [W3c, B3Single, B3Multi] {
            let mut message = Message::default();
            inject(&[format], &context, &mut message);
            prop_assert_eq!(extract(&[format], &message), Some(context.clone()));
        }
    }
}

/// A7.9
#[test]
fn a_message_replaces_the_context_of_another() {
    let fields = [
        ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("tracestate", "old=1"),
        ("baggage", "user=7"),
        ("subject", "orders"),
    ];
    let mut message = Message::of(&fields);
    let context = extract(&[B3Single, W3c], &message).unwrap();
    assert_eq!(context.baggage().unwrap().get("user"), Some("7"));
    inject(&[W3c], &context, &mut message);
    let parent = "00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01";
    assert_eq!(message.field("traceparent"), Some(parent));
    assert_eq!(message.field("tracestate"), None);
    assert_eq!(message.field("baggage"), Some("user=7"));
    assert_eq!(message.field("subject"), Some("orders"));
}
