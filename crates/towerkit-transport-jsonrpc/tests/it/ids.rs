//! Ids, which are echoed as the caller wrote them.

use std::sync::atomic::Ordering;

use proptest::prelude::*;

use crate::harness::{call, refused, server};

async fn echoed(id: &str) -> String {
    let (server, _) = server();
    let body = format!(r#"{{"jsonrpc":"2.0","method":"echo","params":[],"id":{id}}}"#);
    let answer = call(&server, body).await.unwrap();
    let start = r#"{"jsonrpc":"2.0","result":[],"id":"#;
    let rest = answer.strip_prefix(start).expect(&answer);
    rest.strip_suffix('}').unwrap().to_owned()
}

/// JR-04, GK-JR-13
#[tokio::test]
async fn an_id_is_echoed_as_it_was_written() {
    for id in [
        "null",
        "0",
        "-0",
        "12345",
        "12345.6",
        "9007199254740993",
        "18446744073709551616",
        "123456789012345678901234567890.5",
        "1E400",
        "1.0",
        r#""""#,
        r#""stringaling""#,
        r#""\u0061\/\ud83d\ude00\\u""#,
        r#""Grüße 🎉""#,
    ] {
        assert_eq!(echoed(id).await, id);
    }
}

/// JR-04
#[tokio::test]
async fn an_id_of_another_type_is_not_valid() {
    let (server, count) = server();
    for id in ["true", "false", "[]", "[1]", "{}", r#"{"a":1}"#] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"count","id":{id}}}"#);
        assert_eq!(refused(&server, body).await, -32600, "{id}");
    }
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

/// An error of a call with a valid id has that id, so that the caller can tell the calls of a batch apart.
#[tokio::test]
async fn the_error_of_a_call_that_is_not_valid_has_its_id() {
    let (server, _) = server();
    let answer = call(&server, r#"{"jsonrpc":"2.0","id":9007199254740993}"#).await;
    let expected = r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":9007199254740993}"#;
    assert_eq!(answer.unwrap(), expected);
}

proptest! {
    /// JR-04
    #[test]
    fn every_number_and_every_text_is_echoed(
        id in prop_oneof![
            "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert_eq!(runtime.block_on(echoed(&id)), id);
    }
}
