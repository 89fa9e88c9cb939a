//! Bodies that are not JSON, or that readers of JSON do not agree on.

use std::sync::atomic::Ordering;

use proptest::{collection::vec, prelude::*};
use serde_json::Value;

use crate::harness::{call, call_json, refused, server};

/// The kinds of malformed JSON that a parser may accept by mistake.
const MALFORMED: [&[u8]; 60] = [
    b"[1 true]",
    b"[a\xe5]",
    b"[\"\": 1]",
    b"[\"\"],",
    b"[,1]",
    b"[1,,2]",
    b"[\"x\",,]",
    b"[\"x\"]]",
    b"[\"\",]",
    b"[\"x\"",
    b"[x",
    b"[3[4]]",
    b"[\xff]",
    b"[1:2]",
    b"[*]",
    b"[1,\n1\n,1",
    b"[fals]",
    b"[nul]",
    b"[tru]",
    b"\x00",
    b"[++1234]",
    b"[+1]",
    b"[-01]",
    b"[-1.0.]",
    b"[-2.]",
    b"[.-1]",
    b"[.2e-3]",
    b"[0.1.2]",
    b"[0.3e+]",
    b"[0.e1]",
    b"[0x1]",
    b"[1e1 2]",
    b"[1.0e-]",
    b"[Infinity]",
    b"[NaN]",
    b"[-]",
    b"[012]",
    b"[1ea]",
    b"{\"x\", null}",
    b"{\"x\"::\"b\"}",
    b"{\"a\":\"a\" 123}",
    b"{key: 'value'}",
    b"{1:1}",
    b"{\"id\":0,}",
    b"{\"a\":\"b\"}/**/",
    b"{\"a\":\"b\",,\"c\":\"d\"}",
    b"{'a':0}",
    b"{\"a\":\"b\"}#",
    b"[\"\\a\"]",
    b"[\"\\u00A\"]",
    b"[\"\\x00\"]",
    b"[\"new\nline\"]",
    b"[\"\t\"]",
    b"[\"\\",
    b"\"",
    b"['single quote']",
    b"[\xe2\x81\xa0]",
    b"[\x0c]",
    b"<null>",
    b"\xef\xbb\xbf{}",
];

/// JR-06
#[tokio::test]
async fn malformed_json_is_a_parse_error() {
    let (server, count) = server();
    for malformed in MALFORMED {
        let body = malformed.to_vec();
        let text = String::from_utf8_lossy(malformed).into_owned();
        assert_eq!(refused(&server, body).await, -32700, "{text}");
        // So is a call with it.
        let call = br#"{"jsonrpc":"2.0","method":"count","id":1,"params":"#;
        let body = [call.as_slice(), malformed, b"}"].concat();
        assert_eq!(refused(&server, body).await, -32700, "{text}");
    }
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

/// JR-06
#[tokio::test]
async fn well_formed_json_is_no_parse_error() {
    let (server, _) = server();
    for well_formed in [
        "[[]   ]",
        "[\"\"]",
        "[]",
        "[null, 1, \"1\", {}]",
        " [1]",
        "[1,null,null,null,2]",
        "[123e65]",
        "[0e+1]",
        "[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]",
        "[-0]",
        "[1E22]",
        "[1e-2]",
        "{\"a\":\"b\",\"a\":\"b\"}",
        "{\"\":0}",
        "{\"foo\\u0000bar\": 42}",
        "{ \"min\": -1.0e+28, \"max\": 1.0e+28 }",
        "[\"\\u0060\\u012a\\u12AB\"]",
        "[\"\\uD801\\udc37\"]",
        "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
        "[\"\\\\u0000\"]",
        "[\"\u{7f}\"]",
        "[\"\u{10ffff}\"]",
        "[\"\u{2028}\"]",
        "false",
        "42",
        "-0.1",
        "null",
        "\"asd\"",
        "true",
        "\"\"",
        "[\"a\"]\n",
        " [] ",
    ] {
        let answer = call_json(&server, well_formed).await;
        let errors = match answer {
            Value::Array(answers) => answers,
            answer => vec![answer],
        };
        for answer in errors {
            assert_eq!(answer["error"]["code"], -32600, "{well_formed}");
        }
    }
}

/// JR-06
#[tokio::test]
async fn deep_nesting_is_an_error_and_no_stack_overflow() {
    let (server, count) = server();
    let depth = 100_000;
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let opened = open.repeat(depth);
        assert_eq!(refused(&server, opened.clone()).await, -32700);
        let nested = format!("{opened}1{}", close.repeat(depth));
        let answer = call_json(&server, nested.clone()).await;
        let answer = answer.get(0).unwrap_or(&answer);
        assert_eq!(answer["error"]["code"], -32600);
        for nested_member in ["jsonrpc", "method", "params", "id", "other"] {
            let mut call = vec![
                ("jsonrpc", r#""2.0""#),
                ("method", r#""fail""#),
                ("id", "1"),
            ];
            call.retain(|(member, _)| *member != nested_member);
            call.push((nested_member, &nested));
            let call = call.iter();
            let call: Vec<_> = call
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect();
            let answer = call_json(&server, format!("{{{}}}", call.join(","))).await;
            assert!(answer.get("error").is_some(), "{nested_member}");
        }
        let call = format!(r#"{{"jsonrpc":"2.0","method":"count","params":{nested},"id":1}}"#);
        assert_eq!(call_json(&server, call).await["error"]["code"], -32602);
    }
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

/// JR-09
#[tokio::test]
async fn a_member_that_is_there_twice_is_not_valid() {
    let (server, count) = server();
    for call in [
        r#"{"jsonrpc":"2.0","method":"count","method":"count","id":1}"#,
        r#"{"jsonrpc":"2.0","method":"count","\u006dethod":"echo","id":1}"#,
        r#"{"jsonrpc":"2.0","method":"count","id":1,"id":2}"#,
        r#"{"jsonrpc":"2.0","method":"count","id":1,"id":null}"#,
        r#"{"jsonrpc":"2.0","method":"count","params":[],"params":[1],"id":1}"#,
        r#"{"jsonrpc":"2.0","jsonrpc":"2.0","method":"count","id":1}"#,
    ] {
        assert_eq!(refused(&server, call).await, -32600, "{call}");
    }
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

/// JR-09
#[tokio::test]
async fn bytes_around_a_call_and_other_encodings_are_parse_errors() {
    let (server, count) = server();
    let call = r#"{"jsonrpc":"2.0","method":"count","id":1}"#;
    let units: Vec<u16> = call.encode_utf16().collect();
    let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    for body in [
        format!("{call}x").into_bytes(),
        format!("{call}{call}").into_bytes(),
        format!("{call}\n{call}").into_bytes(),
        format!("{call}\0").into_bytes(),
        format!("\u{feff}{call}").into_bytes(),
        [b"\xfe\xff".as_slice(), &big].concat(),
        [b"\xff\xfe".as_slice(), &little].concat(),
        big,
        little,
        [call.as_bytes(), b"\xff"].concat(),
    ] {
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(refused(&server, body).await, -32700, "{text}");
    }
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

/// JR-09
#[tokio::test]
async fn half_of_a_surrogate_pair_is_a_parse_error_wherever_it_is() {
    let (server, count) = server();
    for half in [
        r"\ud800",
        r"\udc00",
        r"\ud800\u0041",
        r"\udc00\ud800",
        r"\ud800\ud800",
        r"\uDBFFx",
    ] {
        for call in [
            format!(r#"{{"jsonrpc":"2.0","method":"count","id":"{half}"}}"#),
            format!(r#"{{"jsonrpc":"2.0","method":"{half}","id":1}}"#),
            format!(r#"{{"jsonrpc":"2.0","method":"count","params":["{half}"],"id":1}}"#),
            format!(r#"{{"jsonrpc":"2.0","method":"count","other":"{half}","id":1}}"#),
            format!(r#"{{"jsonrpc":"2.0","method":"count","{half}":1,"id":1}}"#),
        ] {
            assert_eq!(refused(&server, call.clone()).await, -32700, "{call}");
            let batch = format!(r#"[{{"jsonrpc":"2.0","method":"count"}},{call}]"#);
            assert_eq!(refused(&server, batch).await, -32700, "{call}");
        }
    }
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

/// Parts of calls, from which texts near to valid ones are made.
const PARTS: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"jsonrpc\"",
    "\"2.0\"",
    "\"method\"",
    "\"count\"",
    "\"id\"",
    "\"params\"",
    "1",
    "null",
    "\"\\ud800\"",
    "{\"jsonrpc\":\"2.0\",\"method\":\"count\"",
    ",\"id\":1}",
    "},",
    "\u{feff}",
    " ",
    "1e400",
    "{\"jsonrpc\":\"2.0\",\"method\":\"count\",\"id\":1}",
];

proptest! {
    /// JR-09
    #[test]
    fn any_body_is_answered_and_no_call_is_made_twice(parts in vec(0..PARTS.len(), 0..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (server, count) = server();
        let body: String = parts.iter().map(|part| PARTS[*part]).collect();
        let written = body.matches("\"count\"").count();
        let answer = runtime.block_on(call(&server, body.clone()));
        let counted = count.load(Ordering::Relaxed);
        prop_assert!(counted <= written);
        if serde_json::from_str::<serde::de::IgnoredAny>(&body).is_err() {
            prop_assert_eq!(counted, 0);
            prop_assert!(answer.unwrap().contains("-32700"));
        }
    }

    /// JR-09
    #[test]
    fn any_bytes_are_answered(body in vec(any::<u8>(), 0..64)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (server, _) = server();
        let answer = runtime.block_on(call(&server, body));
        prop_assert!(answer.unwrap().contains("error"));
    }
}
