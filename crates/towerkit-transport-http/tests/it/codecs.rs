//! Codecs: each by itself, from the client to the server and back.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Method, Request, Response, Uri, request, response};
use http_body_util::Full;
use proptest::prelude::*;
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use towerkit_core::ErrorCode;
use towerkit_endpoint::{EndpointExt, IntoRpcError, RpcError, endpoint_fn};
use towerkit_transport_http::{
    DecodeRequest, DecodeResponse, EncodeRequest, EncodeResponse, Form, Json, Protobuf, Query,
    ResponseBody, Xml, client, serve,
};

use crate::wire::{block_on, call, post};

#[derive(Clone, PartialEq, Serialize, Deserialize, Message)]
struct Cat {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    age: u32,
}

fn head() -> request::Parts {
    let request = Request::put("http://cats.example/v1/cats?old=1#x");
    request.body(()).unwrap().into_parts().0
}

fn response_head() -> response::Parts {
    Response::new(()).into_parts().0
}

fn body_of(response: Response<ResponseBody>) -> Bytes {
    use http_body_util::BodyExt;
    block_on(response.into_body().collect()).unwrap().to_bytes()
}

/// Encodes and decodes a message by one codec, as a client does and as a server does.
fn round_trip<T, C>(codec: &C, message: T, content_type: &str) -> (T, T)
where
    T: Clone,
    C: EncodeRequest<T> + DecodeRequest<T> + EncodeResponse<T> + DecodeResponse<T>,
{
    let mut head = head();
    let body = codec.encode_request(message.clone(), &mut head).unwrap();
    assert_eq!(head.headers["content-type"], content_type);
    let request = codec.decode_request(&head, body).unwrap();
    let response = codec.encode_response(message).unwrap();
    assert_eq!(response.headers()["content-type"], content_type);
    let response = codec
        .decode_response(&response_head(), body_of(response))
        .unwrap();
    (request, response)
}

/// GK-HC-4: without go-kit's line feed.
#[test]
fn json_is_encoded_as_in_go_kit() {
    let table = [
        (json!(null), "null"),
        (json!(12), "12"),
        (json!(1.2), "1.2"),
        (json!(true), "true"),
        (json!("test"), "\"test\""),
        (json!({ "foo": "foo" }), r#"{"foo":"foo"}"#),
    ];
    for (value, text) in table {
        let mut head = head();
        assert_eq!(Json.encode_request(value.clone(), &mut head).unwrap(), text);
        assert_eq!(head.headers["content-type"], "application/json");
        assert_eq!(body_of(Json.encode_response(value).unwrap()), text);
    }
}

/// GK-PB-1
#[test]
fn a_protobuf_request_has_its_method_its_content_type_and_its_bytes() {
    let cat = Cat {
        name: "Ziggy".into(),
        age: 13,
    };
    let mut head = head();
    let body = Protobuf.encode_request(cat.clone(), &mut head).unwrap();
    assert_eq!(head.method, Method::PUT);
    assert_eq!(head.headers["content-type"], "application/x-protobuf");
    assert_eq!(Cat::decode(body).unwrap(), cat);
}

/// GK-PB-2
#[test]
fn a_protobuf_response_is_200_with_its_content_type_and_its_bytes() {
    let cat = Cat {
        name: "Ziggy".into(),
        age: 13,
    };
    let response = Protobuf.encode_response(cat.clone()).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-protobuf");
    assert_eq!(body_of(response), cat.encode_to_vec());
}

proptest! {
    #[test]
    fn every_message_survives_json_form_query_and_protobuf(name in ".{0,20}", age: u32) {
        let cat = Cat { name, age };
        let both = (cat.clone(), cat.clone());
        prop_assert_eq!(round_trip(&Json, cat.clone(), "application/json"), both.clone());
        let form = "application/x-www-form-urlencoded";
        prop_assert_eq!(round_trip(&Form, cat.clone(), form), both.clone());
        let protobuf = "application/x-protobuf";
        prop_assert_eq!(round_trip(&Protobuf, cat.clone(), protobuf), both);
        let mut head = head();
        Query.encode_request(cat.clone(), &mut head).unwrap();
        prop_assert_eq!(head.uri.path(), "/v1/cats");
        let decoded: Cat = Query.decode_request(&head, Bytes::new()).unwrap();
        prop_assert_eq!(decoded, cat);
    }

    #[test]
    fn every_message_of_printable_text_survives_xml(name in "[ -~äß€\u{1f600}]{0,20}", age: u32) {
        let cat = Cat { name, age };
        let both = (cat.clone(), cat.clone());
        prop_assert_eq!(round_trip(&Xml, cat, "application/xml"), both);
    }

    #[test]
    fn any_body_is_answered_with_200_or_400(body in proptest::collection::vec(any::<u8>(), 0..60)) {
        check_any(Form, post(body.clone()));
        check_any((Form, Json), post(body.clone()));
        check_any(Xml, post(body.clone()));
        check_any(Protobuf, post(body.clone()));
        check_any(Xml, post([b"<Cat>", &*body, b"</Cat>"].concat()));
        let query = body.iter().filter(|byte| byte.is_ascii_graphic() && **byte != b'#');
        let uri: Vec<u8> = b"/?".iter().chain(query).copied().collect();
        if let Ok(uri) = Uri::try_from(uri) {
            let request = Request::get(uri).body(Full::default()).unwrap();
            check_any((Query, Json), request);
        }
    }
}

fn check_any<C>(codec: C, request: Request<Full<Bytes>>)
where
    C: DecodeRequest<Cat> + EncodeResponse<Cat> + Clone,
{
    let endpoint = endpoint_fn((), |(), cat: Cat| async { Ok::<_, RpcError>(cat) });
    let answer = block_on(call(serve("any", codec, endpoint), request));
    assert!([200, 400].contains(&answer.status.as_u16()), "{answer:?}");
}

/// The entities of a document type are not expanded.
#[test]
fn xml_with_entities_is_malformed() {
    let bomb = r#"<!DOCTYPE c [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Cat><name>&b;</name><age>1</age></Cat>"#;
    let error = DecodeRequest::<Cat>::decode_request(&Xml, &head(), bomb.into()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
}

/// HT-10
#[test]
fn an_error_of_decoding_names_no_types_and_repeats_no_input() {
    fn check<C: DecodeRequest<Cat> + DecodeResponse<Cat>>(codec: C, body: &'static str) {
        let error = codec.decode_request(&head(), body.into()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        assert!(std::error::Error::source(&error).is_some());
        for secret in ["Cat", "secret", "struct", "u32"] {
            assert!(!error.message().contains(secret), "{}", error.message());
        }
        let error = codec
            .decode_response(&response_head(), body.into())
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::Internal);
        assert_eq!(
            error.message(),
            "the response of the upstream cannot be decoded"
        );
    }
    check(Json, r#"{"name":"secret","age":"secret"}"#);
    check(Json, r#"{"secret":"#);
    check(Form, "name=secret&age=secret");
    check(Xml, "<Cat><name>secret</name><age>secret</age></Cat>");
    check(Protobuf, "secret");
    let mut head = head();
    head.uri = "/?age=secret".parse().unwrap();
    let error = DecodeRequest::<Cat>::decode_request(&Query, &head, Bytes::new()).unwrap_err();
    assert_eq!(error.message(), "not the query that this operation takes");
}

#[test]
fn json_decodes_an_empty_body_as_null() {
    let decode =
        |body: &'static str| DecodeRequest::<()>::decode_request(&Json, &head(), body.into());
    assert!(decode("").is_ok() && decode("null").is_ok());
    assert!(decode(" ").is_err());
    let none: Option<u32> = Json.decode_request(&head(), Bytes::new()).unwrap();
    assert_eq!(none, None);
}

#[test]
fn json_sends_no_null_with_a_get() {
    for (method, body) in [
        (Method::GET, ""),
        (Method::HEAD, ""),
        (Method::POST, "null"),
    ] {
        let mut head = head();
        head.method = method;
        assert_eq!(Json.encode_request((), &mut head).unwrap(), body);
        let has_type = head.headers.contains_key("content-type");
        assert_eq!(has_type, !body.is_empty());
        assert_eq!(Json.encode_request(7, &mut head).unwrap(), "7");
    }
}

#[test]
fn a_query_replaces_the_query_and_keeps_the_rest_of_the_uri() {
    let query = |uri: &'static str,
                 cat: &dyn Fn(&mut request::Parts) -> Result<Bytes, RpcError>| {
        let mut head = head();
        head.uri = Uri::from_static(uri);
        assert_eq!(cat(&mut head).unwrap(), "");
        head.uri.to_string()
    };
    let cat = |head: &mut request::Parts| {
        let cat = Cat {
            name: "a b&c".into(),
            age: 7,
        };
        Query.encode_request(cat, head)
    };
    let table = [
        (
            "http://a.example/v1/cats?x=1",
            "http://a.example/v1/cats?name=a+b%26c&age=7",
        ),
        (
            "http://a.example:81",
            "http://a.example:81/?name=a+b%26c&age=7",
        ),
        ("/v1/cats", "/v1/cats?name=a+b%26c&age=7"),
    ];
    for (uri, expected) in table {
        assert_eq!(query(uri, &cat), expected);
    }
    let empty = |head: &mut request::Parts| Query.encode_request(HashMap::<u8, u8>::new(), head);
    assert_eq!(
        query("http://a.example/v1?x=1", &empty),
        "http://a.example/v1"
    );
}

/// A pair: the first codec for requests, the second for responses, on both sides.
#[tokio::test]
async fn a_pair_of_codecs_serves_and_calls() {
    let birthday = endpoint_fn((), |(), cat: Cat| async move {
        Ok::<_, RpcError>(Cat {
            age: cat.age + 1,
            ..cat
        })
    });
    let cat = Cat {
        name: "Ziggy".into(),
        age: 13,
    };
    let uri = Uri::from_static("http://cats.example/birthday?unused");
    let queried = client(
        serve("birthday", (Query, Json), birthday),
        Method::GET,
        uri.clone(),
        (Query, Json),
    );
    let older: Cat = queried.invoke(cat.clone()).await.unwrap();
    assert_eq!(older.age, 14);
    let mixed = serve("birthday", (Protobuf, Xml), birthday);
    let mixed = client(mixed, Method::POST, uri, (Protobuf, Xml));
    let older: Cat = mixed.invoke(cat).await.unwrap();
    assert_eq!(older.age, 14);
}

/// Functions as codecs, on both sides. GK-HC-6: an own encoder makes the whole request.
#[tokio::test]
async fn functions_are_codecs() {
    let decode = |head: &request::Parts, body: Bytes| -> Result<String, RpcError> {
        assert_eq!(head.headers["x-shout"], "yes");
        String::from_utf8(body.into()).map_err(|_| RpcError::internal())
    };
    let encode = |text: String| -> Result<Response<ResponseBody>, RpcError> {
        Ok(Response::new(ResponseBody::from(Bytes::from(text))))
    };
    let upper = endpoint_fn((), |(), text: String| async move {
        Ok::<_, RpcError>(text.to_uppercase())
    });
    let server = serve("upper", (decode, encode), upper);
    let write = |text: String, head: &mut request::Parts| -> Result<Bytes, RpcError> {
        head.headers.insert("x-shout", "yes".parse().unwrap());
        Ok(text.into())
    };
    let read = |_: &response::Parts, body: Bytes| -> Result<usize, RpcError> { Ok(body.len()) };
    let uri = Uri::from_static("http://upper.example/");
    let upper = client(server, Method::POST, uri, (write, read));
    assert_eq!(upper.invoke("hello world".to_owned()).await.unwrap(), 11);
}

/// go-kit's stringsvc1: `{"s":..}` is answered with `{"v":..}` or `{"v":"","err":..}`.
#[tokio::test]
async fn the_json_of_go_kits_stringsvc_goes_both_ways() {
    #[derive(Serialize, Deserialize)]
    struct UppercaseRequest {
        s: String,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct UppercaseResponse {
        v: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        err: Option<String>,
    }
    let uppercase = endpoint_fn((), |(), UppercaseRequest { s }| async move {
        let err = s.is_empty().then(|| "empty string".to_owned());
        Ok::<_, RpcError>(UppercaseResponse {
            v: s.to_uppercase(),
            err,
        })
    });
    let handler = serve("uppercase", Json, uppercase);
    let answer = call(handler.clone(), post(r#"{"s":"hello, world"}"#)).await;
    assert_eq!(answer.text(), r#"{"v":"HELLO, WORLD"}"#);
    let answer = call(handler.clone(), post(r#"{"s":""}"#)).await;
    assert_eq!(answer.text(), r#"{"v":"","err":"empty string"}"#);

    let uri = Uri::from_static("http://strings.example/uppercase");
    let uppercase = client(handler, Method::POST, uri, Json);
    let response: UppercaseResponse = uppercase
        .invoke(UppercaseRequest { s: String::new() })
        .await
        .unwrap();
    assert_eq!(
        (&*response.v, response.err.as_deref()),
        ("", Some("empty string"))
    );
}

/// A value that a codec cannot encode is an error before a request is sent.
#[tokio::test]
async fn a_message_that_cannot_be_encoded_is_not_sent() {
    let server = tower::service_fn(|_: Request<Full<Bytes>>| async {
        panic!("no request is sent");
        #[expect(unreachable_code, reason = "gives the type")]
        Ok::<Response<Full<Bytes>>, std::convert::Infallible>(Response::default())
    });
    let nested = HashMap::from([((1, 2), 3)]);
    let uri = Uri::from_static("http://cats.example/");
    let json = client(server, Method::POST, uri.clone(), Json);
    let error = json.invoke(nested).await.map(|_: Value| ()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
    let query = client(server, Method::GET, uri, (Query, Json));
    let error = query.invoke(vec![1]).await.map(|_: Value| ()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
}
