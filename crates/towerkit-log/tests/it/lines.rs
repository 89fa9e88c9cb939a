//! Lines, as a reader parses them: every value is read back, and no value breaks a line.

use std::{error::Error, fmt};

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use towerkit_log::{Format, LengthLimits, line_of, subscriber};
use tracing::{Level, field::Empty, info, info_span};

use crate::{
    page::{written, written_by},
    read::pairs,
};

const FORMATS: [Format; 2] = [Format::Logfmt, Format::Json];

/// Returns the line of one event without its time.
fn line(format: Format, log: impl FnOnce()) -> String {
    let text = written(format, false, log);
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{text}");
    line.to_owned()
}

fn json(log: impl FnOnce()) -> Value {
    serde_json::from_str(&line(Format::Json, log)).unwrap()
}

fn field(format: Format, line: &str, name: &str) -> Option<String> {
    let mut pairs = pairs(format, line).into_iter();
    pairs.find(|pair| pair.0 == name).map(|pair| pair.1)
}

/// Text of which a good part could do harm.
fn hostile() -> impl Strategy<Value = String> {
    let harmful =
        "[\0-\x20=\"'\\\\\x7f-\u{9f}\u{61c}\u{200e}\u{2028}-\u{202e}\u{2066}-\u{2069}\u{fffd}a-c]";
    vec(
        prop_oneof![
            any::<char>(),
            harmful.prop_map(|text| text.chars().next().unwrap())
        ],
        0..24,
    )
    .prop_map(|chars| chars.into_iter().collect())
}

fn is_harmless(c: char) -> bool {
    let is_bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}') && !is_bidi
}

proptest! {
    /// LG-01, LG-03: also `Debug` and `Display`, which are written in another way.
    #[test]
    fn any_text_is_parsed_back_from_one_safe_line(value in hostile(), message in hostile()) {
        for format in FORMATS {
            let line = line(format, || {
                info!(text = value.as_str(), shown = %value, debug = ?value, end = 1, "{message}");
            });
            prop_assert!(line.chars().all(is_harmless), "{line:?}");
            let names = ["ts", "level", "target", "msg", "text", "shown", "debug", "end"];
            let pairs = pairs(format, &line);
            prop_assert!(pairs.iter().map(|pair| pair.0.as_str()).eq(names), "{line}");
            let debug = format!("{value:?}");
            let values = [message.as_str(), &value, &value, &debug, "1"];
            prop_assert!(pairs[3..].iter().map(|pair| pair.1.as_str()).eq(values), "{line}");
        }
    }

    /// LG-02, LG-09: whatever a name, and bytes that are no text.
    #[test]
    fn any_name_and_any_bytes_make_one_field(
        name in hostile(),
        bytes in vec(prop_oneof![any::<u8>(), 0..0x20_u8, Just(b'"')], 0..24),
    ) {
        for format in FORMATS {
            let line = String::from_utf8(line_of(format, &name, &bytes)).unwrap();
            let line = line.strip_suffix('\n').unwrap();
            prop_assert!(line.chars().all(is_harmless), "{line:?}");
            let pairs = pairs(format, line);
            prop_assert_eq!(pairs.len(), 1, "{}", line);
            prop_assert_eq!(&pairs[0].1, &String::from_utf8_lossy(&bytes));
            prop_assert!(format == Format::Logfmt || pairs[0].0 == name);
        }
    }

    #[test]
    fn any_number_is_parsed_back(
        float in any::<f64>(),
        integer in any::<i64>(),
        natural in any::<u64>(),
        large in any::<i128>(),
    ) {
        for format in FORMATS {
            let line = line(format, || info!(float, integer, natural, large, flag = true));
            let text = |name| field(format, &line, name).unwrap();
            let read: f64 = text("float").parse().unwrap();
            prop_assert!(read == float || read.is_nan() && float.is_nan());
            prop_assert_eq!(text("integer"), integer.to_string());
            prop_assert_eq!(text("natural"), natural.to_string());
            prop_assert_eq!(text("large"), large.to_string());
            prop_assert_eq!(text("flag"), "true");
        }
    }
}

#[test]
fn fields_keep_the_order_in_which_they_were_recorded() {
    let log = || info!(zebra = 1, apple = 2.5, mango = "a b", "it is done");
    let text = line(Format::Logfmt, log);
    let (time, rest) = text.split_once(' ').unwrap();
    assert_eq!(time.len(), "ts=2000-02-29T12:34:56.789012Z".len());
    assert_eq!(
        rest,
        r#"level=info target=it::lines msg="it is done" zebra=1 apple=2.5 mango="a b""#
    );
    let text = line(Format::Json, log);
    let (_, rest) = text.split_once(',').unwrap();
    assert_eq!(
        rest,
        r#""level":"info","target":"it::lines","msg":"it is done","zebra":1,"apple":2.5,"mango":"a b"}"#
    );
}

/// LG-01
#[test]
fn a_value_cannot_start_a_new_line() {
    let attack = "a\r\nlevel=error msg=pwn";
    let text = line(Format::Logfmt, || info!(user = attack));
    assert!(
        text.ends_with(r#"user="a\r\nlevel=error msg=pwn""#),
        "{text}"
    );
    assert_eq!(field(Format::Logfmt, &text, "user").unwrap(), attack);
}

/// LG-02
#[test]
fn no_name_breaks_the_line() {
    let log = || info!({ "a b" = 1, "c=\"d\r\n" = 2, "" = 3, "\u{1b}\u{9b}\u{202e}e" = 4 });
    let text = line(Format::Logfmt, log);
    assert!(text.ends_with(" ab=1 cd=2 _=3 e=4"), "{text}");
    let value = json(log);
    for (key, expected) in [
        ("a b", 1),
        ("c=\"d\r\n", 2),
        ("", 3),
        ("\u{1b}\u{9b}\u{202e}e", 4),
    ] {
        assert_eq!(value[key], expected);
    }
}

/// LG-06
#[test]
fn a_value_that_panics_or_fails_is_replaced_by_a_note() {
    struct Panics;
    impl fmt::Display for Panics {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half of ")?;
            panic!("no {}", "more");
        }
    }
    struct Fails;
    impl fmt::Debug for Fails {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half of ")?;
            Err(fmt::Error)
        }
    }
    for format in FORMATS {
        let line = line(
            format,
            || info!(before = 1, panics = %Panics, fails = ?Fails, after = 2),
        );
        let text = |name| field(format, &line, name).unwrap();
        assert_eq!(text("panics"), "PANIC:no more");
        assert_eq!(text("fails"), "ERROR:the value could not be formatted");
        assert_eq!((text("before"), text("after")), ("1".into(), "2".into()));
    }
}

/// LG-09
#[test]
fn numbers_that_json_cannot_represent_are_strings() {
    let value = json(|| {
        info!(
            nan = f64::NAN,
            up = f64::INFINITY,
            down = f64::NEG_INFINITY,
            tiny = 5e-324,
            huge = f64::MAX,
            most = u64::MAX,
            small = 7_i128,
            large = i128::MIN,
            bytes = &b"\xed\xa0\x80"[..],
        );
    });
    assert_eq!(value["nan"], "NaN");
    assert_eq!(
        (&value["up"], &value["down"]),
        (&json!("Infinity"), &json!("-Infinity"))
    );
    assert_eq!(
        (&value["tiny"], &value["huge"]),
        (&json!(5e-324), &json!(f64::MAX))
    );
    assert_eq!(
        (&value["most"], &value["small"]),
        (&json!(u64::MAX), &json!(7))
    );
    assert_eq!(value["large"], i128::MIN.to_string());
    assert_eq!(value["bytes"], "\u{fffd}\u{fffd}\u{fffd}");
}

/// LG-09: duplicate keys. Nor can a field pass for the level.
#[test]
fn a_repeated_name_gets_a_suffix() {
    let value = json(|| info!(level = "error", ts = 0, msg = "not it", "it"));
    assert_eq!(
        (&value["level"], &value["level_2"]),
        (&json!("info"), &json!("error"))
    );
    assert_eq!(
        (&value["msg"], &value["msg_2"]),
        (&json!("it"), &json!("not it"))
    );
    assert_eq!(value["ts_2"], 0);
    // Keys that are the same only once they are clean.
    let text = line(
        Format::Logfmt,
        || info!({ "a b" = 1, ab = 2, ab_2 = 3, "a=b" = 4 }),
    );
    assert!(text.ends_with(" ab=1 ab_2=2 ab_2_2=3 ab_3=4"), "{text}");
}

#[test]
fn an_error_is_logged_with_its_sources() {
    #[derive(Debug)]
    struct Outer(fmt::Error);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("could not show")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
    let error = Outer(fmt::Error);
    let value = json(|| info!(error = &error as &(dyn Error + 'static)));
    assert_eq!(value["error"], format!("could not show: {}", fmt::Error));
}

#[test]
fn fields_of_spans_are_added_innermost_first() {
    for format in FORMATS {
        let text = written(format, true, || {
            let outer = info_span!("outer", id = 1, user = Empty, "quoted" = "a \"b\"");
            let _outer = outer.enter();
            let _inner = info_span!("inner", id = 2).entered();
            outer.record("user", "Ann\n");
            outer.record("quoted", "later");
            info!(id = 3);
        });
        let mut pairs = pairs(format, &text);
        let expected = [
            ("id", "3"),
            ("id_2", "2"),
            ("id_3", "1"),
            ("quoted", "later"),
            ("user", "Ann\n"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs.split_off(3), expected);
    }
    let without = line(Format::Json, || {
        let _span = info_span!("span", id = 1).entered();
        info!("nothing else");
    });
    assert_eq!(field(Format::Json, &without, "id"), None);
}

#[test]
fn a_long_line_is_complete_and_does_not_affect_the_next() {
    let long = "long ".repeat(100_000);
    let caps = LengthLimits::new().value(usize::MAX).line(usize::MAX);
    let dispatch = |writer| {
        subscriber(Format::Json)
            .length_limits(caps)
            .writer(writer)
            .dispatch()
    };
    let text = written_by(dispatch, || {
        info!(value = long);
        info!(value = 1);
    });
    let lines: Vec<_> = text
        .lines()
        .map(|line| field(Format::Json, line, "value").unwrap())
        .collect();
    assert_eq!(lines, [long.as_str(), "1"]);
}

/// GK-LG-6
#[test]
fn html_is_not_escaped() {
    let text = line(Format::Json, || info!(k = "<&>"));
    assert!(text.ends_with(r#""k":"<&>"}"#), "{text}");
}

/// GK-TM-1
#[test]
fn only_levels_in_logfmt_are_coloured() {
    for (format, colors, level) in [
        (Format::Logfmt, true, "level=\x1b[33mwarn\x1b[0m "),
        (Format::Logfmt, false, "level=warn "),
        (Format::Json, true, "\"level\":\"warn\","),
    ] {
        let dispatch = |writer| {
            let subscriber = subscriber(format).colors(colors);
            subscriber.writer(writer).dispatch()
        };
        let text = written_by(dispatch, || tracing::warn!("\x1b[31mred"));
        assert!(text.contains(level), "{text}");
        assert_eq!(text.replace(level, "").find('\x1b'), None, "{text}");
    }
}

#[test]
fn levels_are_written_in_lower_case_and_filtered() {
    for (least, expected) in [
        (Level::TRACE, "error warn info debug trace"),
        (Level::WARN, "error warn"),
    ] {
        let text = written_by(
            |writer| {
                subscriber(Format::Json)
                    .level(least)
                    .writer(writer)
                    .dispatch()
            },
            || {
                tracing::error!("");
                tracing::warn!("");
                tracing::info!("");
                tracing::debug!("");
                tracing::trace!("");
            },
        );
        let levels: Vec<_> = text
            .lines()
            .filter_map(|line| field(Format::Json, line, "level"))
            .collect();
        assert_eq!(levels.join(" "), expected);
    }
}
