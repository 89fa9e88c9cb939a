//! HTTP clients as endpoints.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, Uri, request};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};
use tower::{ServiceBuilder, service_fn};
use towerkit_concurrency::ConcurrencyLimitLayer;
use towerkit_core::{
    BoxError, CarriesRejection, Deadline, ErrorCode, Outcome, Rejection, RejectionReason, Status,
    guard, observe,
};
use towerkit_endpoint::{
    EndpointExt, IntoRpcError, Request as EndpointRequest, RpcError, RpcExt, call_fn, endpoint_fn,
};
use towerkit_http::HttpExt;
use towerkit_retry::RetryLayer;
use towerkit_timeout::{DeadlineInjectLayer, DeadlineLayer, TimeoutLayer};
use towerkit_transport_http::{EncodeRequest, HttpClient, Json, client, serve};

use crate::wire::{Dropped, LIMIT, Recorder, Rejects, Wire, listen};

fn uri() -> Uri {
    Uri::from_static("http://upstream.example/path")
}

type Upstream = Response<Full<Bytes>>;

/// Calls an upstream that gives this response.
async fn call(response: Upstream) -> Result<Value, RpcError> {
    let upstream = service_fn(move |_: Request<Full<Bytes>>| {
        let response = response.clone();
        async { Ok::<_, Infallible>(response) }
    });
    client(upstream, Method::POST, uri(), Json).invoke(()).await
}

fn response(status: u16, body: &'static str) -> Upstream {
    Response::builder()
        .status(status)
        .body(body.into())
        .unwrap()
}

/// GK-HC-5
#[tokio::test]
async fn the_http_service_is_called_with_the_method_the_uri_and_the_encoded_message() {
    let upstream = service_fn(|request: Request<Full<Bytes>>| async {
        assert_eq!((request.method(), request.uri()), (&Method::PUT, &uri()));
        assert_eq!(request.headers()["content-type"], "application/json");
        let body = request.into_body().collect().await?.to_bytes();
        assert_eq!(body, r#"{"a":1}"#);
        Ok::<_, Infallible>(response(201, "[2]"))
    });
    let client = client(upstream, Method::PUT, uri(), Json);
    let list: Vec<u32> = client.invoke(json!({ "a": 1 })).await.unwrap();
    assert_eq!(list, [2]);
}

/// FIX-20: a response without a success status is an error.
#[tokio::test]
async fn the_code_and_the_message_are_read_from_an_error_response() {
    use ErrorCode::{
        AlreadyExists, Internal, InvalidArgument, NotFound, ResourceExhausted, Unavailable, Unknown,
    };
    let table = [
        (
            404,
            r#"{"code":"already_exists","detail":"it is there"}"#,
            AlreadyExists,
            "it is there",
        ),
        (
            503,
            r#"{"code":"circuit_open","detail":"busy"}"#,
            Unavailable,
            "busy",
        ),
        (
            429,
            r#"{"code":"rate_limited"}"#,
            ResourceExhausted,
            "Too Many Requests",
        ),
        (
            404,
            r#"{"code":"no such code","detail":7}"#,
            NotFound,
            "Not Found",
        ),
        (
            400,
            r#"{"error":"empty string"}"#,
            InvalidArgument,
            "empty string",
        ),
        (
            400,
            r#"{"detail":"first","error":"second"}"#,
            InvalidArgument,
            "first",
        ),
        (
            500,
            "text of the upstream",
            Internal,
            "Internal Server Error",
        ),
        (500, "[1]", Internal, "Internal Server Error"),
        (599, "", Unknown, "unknown status"),
        (302, "", Unknown, "Found"),
        (304, "", Unknown, "Not Modified"),
        (413, "", InvalidArgument, "Payload Too Large"),
    ];
    for (status, body, code, message) in table {
        let error = call(response(status, body)).await.unwrap_err();
        assert_eq!(
            (error.code(), &*error.message()),
            (code, message),
            "{status} {body}"
        );
        let sent_on = if status < 400 { 500 } else { status };
        assert_eq!(error.http_status(), sent_on, "{status}");
        assert!(error.rejection().is_none() && !error.is_unsent());
    }
}

/// Every error of a handler arrives as it was.
#[tokio::test]
async fn an_error_goes_from_endpoint_to_endpoint() {
    let fail = endpoint_fn((), |(), number: u16| async move {
        let code = ErrorCode::from_number(number).unwrap();
        let wait = Duration::from_secs(u64::from(number));
        Err::<(), _>(RpcError::new(code, format!("number {number}")).with_retry_after(wait))
    });
    let fail = client(serve("fail", Json, fail), Method::POST, uri(), Json);
    for code in ErrorCode::ALL {
        let result: Result<(), _> = fail.invoke(code.number()).await;
        let error = result.unwrap_err();
        assert_eq!(error.code(), code);
        assert_eq!(error.message(), format!("number {}", code.number()));
        assert_eq!(error.http_status(), code.http_status());
        let wait = Duration::from_secs(u64::from(code.number()));
        assert_eq!(error.retry_after(), Some(wait));
    }
}

#[tokio::test]
async fn retry_after_is_read_in_seconds_and_as_a_date() {
    let busy = |wait: &str| {
        let mut response = response(503, "");
        response
            .headers_mut()
            .insert("retry-after", wait.parse().unwrap());
        call(response)
    };
    let wait = busy("7").await.unwrap_err().retry_after();
    assert_eq!(wait, Some(Duration::from_secs(7)));
    assert_eq!(busy("soon").await.unwrap_err().retry_after(), None);
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    let wait = busy(&date).await.unwrap_err().retry_after().unwrap();
    // The test itself may take minutes.
    assert!((2000..=3600).contains(&wait.as_secs()), "{wait:?}");
}

#[tokio::test]
async fn a_response_over_the_limit_is_an_error() {
    let limited = |status, limit| {
        let upstream = service_fn(move |_: Request<Full<Bytes>>| async move {
            Ok::<_, Infallible>(response(status, r#""12345""#))
        });
        client(upstream, Method::GET, uri(), Json).response_limit(limit)
    };
    let text: String = limited(200, 7).invoke(()).await.unwrap();
    assert_eq!(text, "12345");
    let result: Result<String, _> = limited(200, 6).invoke(()).await;
    let error = result.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
    assert_eq!(error.message(), "the response of the upstream is too long");
    // The status of an error is known, however long its body is.
    let result: Result<String, _> = limited(404, 6).invoke(()).await;
    assert_eq!(result.unwrap_err().code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_response_that_breaks_off_is_unavailable_and_keeps_its_status_if_it_is_an_error() {
    let rejection = || Rejection::new(RejectionReason::DeadlineExceeded, "test");
    let table: [(u16, BoxError, _); 3] = [
        (200, "secret".into(), ErrorCode::Unavailable),
        (409, "secret".into(), ErrorCode::Aborted),
        (200, rejection().into(), ErrorCode::DeadlineExceeded),
    ];
    for (status, error, code) in table {
        let error = Arc::new(std::sync::Mutex::new(Some(error)));
        let upstream = service_fn(move |_: Request<Full<Bytes>>| {
            let error = error.lock().unwrap().take().unwrap();
            let frames = [Ok(Frame::data(Bytes::from("7"))), Err(error)];
            let body = StreamBody::new(stream::iter(frames));
            let response = Response::builder().status(status).body(body);
            async { Ok::<_, Infallible>(response.unwrap()) }
        });
        let client = client(upstream, Method::GET, uri(), Json);
        let result: Result<u32, _> = client.invoke(()).await;
        let error = result.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(!error.is_unsent() && !error.to_string().contains("secret"));
        assert_eq!(
            error.rejection().is_some(),
            code == ErrorCode::DeadlineExceeded
        );
    }
}

/// GK-HC-7, HT-10: the error of the HTTP service is the source.
#[tokio::test]
async fn the_error_of_the_http_service_is_the_source_and_not_the_message() {
    let fails = |kind| {
        let upstream = service_fn(move |_: Request<Full<Bytes>>| async move {
            Err::<Upstream, _>(io::Error::new(kind, "10.0.0.7:443"))
        });
        client(upstream, Method::POST, uri(), Json)
    };
    for (kind, unsent) in [
        (io::ErrorKind::ConnectionRefused, true),
        (io::ErrorKind::ConnectionReset, false),
    ] {
        let result: Result<(), _> = fails(kind).invoke(()).await;
        let error = result.unwrap_err();
        assert_eq!(
            error.to_string(),
            "unavailable: the upstream is unavailable"
        );
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "10.0.0.7:443");
        assert_eq!(error.is_unsent(), unsent);
    }
}

/// A free port on which no server listens.
async fn refusing_uri() -> Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    format!("http://{address}/").parse().unwrap()
}

#[tokio::test]
async fn a_refused_connection_is_unsent_and_a_retry_sends_the_post_again() {
    let attempts = Arc::new(AtomicU32::new(0));
    let count = attempts.clone();
    let http = ServiceBuilder::new()
        .map_request(move |request| {
            count.fetch_add(1, Ordering::Relaxed);
            request
        })
        .service(towerkit_http::client::<Full<Bytes>>());
    let refused: HttpClient<_, _, u32, u32> =
        client(http, Method::POST, refusing_uri().await, Json);
    let retried = ServiceBuilder::new()
        .layer(RetryLayer::new().rpc())
        .service(refused);
    let error = retried.invoke(1).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(error.is_unsent());
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
}

/// An error response proves that the request was sent.
#[tokio::test]
async fn a_post_that_was_answered_with_an_error_is_not_sent_again() {
    let attempts = Arc::new(AtomicU32::new(0));
    let upstream = service_fn(|_: Request<Full<Bytes>>| {
        attempts.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(response(503, "")) }
    });
    let post: HttpClient<_, _, u32, u32> = client(upstream, Method::POST, uri(), Json);
    let retried = ServiceBuilder::new()
        .layer(RetryLayer::new().rpc())
        .service(post);
    assert!(retried.invoke(1).await.is_err());
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
}

/// GK-HC-1, GK-HC-3: go-kit's `ClientBefore` is `map_request` or a header of the request, and its `ClientFinalizer` an observer.
#[tokio::test]
async fn headers_and_extensions_of_the_request_are_sent() {
    let upstream = service_fn(|request: Request<Full<Bytes>>| async move {
        let tenant = request.headers()["x-tenant"].to_str().unwrap().to_owned();
        let number: &u32 = request.extensions().get().unwrap();
        let body = json!([
            tenant,
            request.headers()["x-before"].to_str().unwrap(),
            number
        ]);
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(body.to_string())))
    });
    let recorder = Recorder::default();
    let http = ServiceBuilder::new()
        .layer(observe(recorder.clone()).http())
        .map_request(|mut request: Request<Full<Bytes>>| {
            request
                .headers_mut()
                .insert("x-before", "set".parse().unwrap());
            request
        })
        .service(upstream);
    let client: HttpClient<_, _, (), Value> = client(http, Method::POST, uri(), Json);
    let mut request = EndpointRequest::new("sent", ());
    request.headers.insert("x-tenant", "blue".parse().unwrap());
    request.extensions.insert(7_u32);
    assert_eq!(
        client.invoke(request).await.unwrap(),
        json!(["blue", "set", 7])
    );
    let end = recorder.only();
    assert_eq!(
        (end.outcome(), end.status()),
        (Outcome::Success, Some(Status::Http(200)))
    );
}

/// RFC 9110, section 7.6.1: a request that came in over HTTP, and is passed on as it is.
#[tokio::test]
async fn headers_of_the_connection_and_of_the_body_are_not_sent_on() {
    let upstream = service_fn(|request: Request<Full<Bytes>>| async move {
        let headers = request.headers();
        let names: Vec<_> = headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect();
        assert_eq!(headers["content-type"], "application/json");
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(json!(names).to_string())))
    });
    let pass = client(upstream, Method::POST, uri(), Json);
    let gateway = serve("pass", Json, pass);
    let mut request = crate::wire::post("7");
    let removed = [
        ("connection", "close, X-Listed ,, \u{7f}x, keep-alive"),
        ("connection", "x-listed-too"),
        ("x-listed", "1"),
        ("x-listed-too", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
        ("host", "gateway.example"),
        ("content-length", "1"),
        ("content-type", "text/plain"),
        ("content-encoding", "identity"),
        ("content-language", "en"),
        ("accept-encoding", "gzip"),
        ("range", "bytes=0-1"),
        ("if-none-match", "\"a\""),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    let kept = [
        ("authorization", "Bearer a"),
        ("traceparent", "00-1"),
        ("x-tenant", "blue"),
    ];
    for (name, value) in removed.iter().chain(&kept) {
        let value = http::HeaderValue::from_bytes(value.replace('\u{7f}', "").as_bytes());
        request.headers_mut().append(*name, value.unwrap());
    }
    let answer = crate::wire::call(with_type(gateway), request).await;
    let mut names: Vec<String> = serde_json::from_slice(&answer.body).unwrap();
    names.sort();
    assert_eq!(
        names,
        ["authorization", "content-type", "traceparent", "x-tenant"]
    );
}

/// Fixes the message of a handler that passes any JSON on.
fn with_type<H, C, D>(
    handler: towerkit_transport_http::HttpHandler<HttpClient<H, C, Value, Value>, D, Value>,
) -> towerkit_transport_http::HttpHandler<HttpClient<H, C, Value, Value>, D, Value> {
    handler
}

/// A layer of the client's own stack rejects; a rejection that came over the wire is an error of the upstream.
#[tokio::test]
async fn only_a_layer_on_this_side_rejects() {
    let rejection = Rejection::new(RejectionReason::RateLimited, "test");
    let rejection = rejection.with_retry_after(Duration::from_secs(7));
    let endpoint = || endpoint_fn((), |(), ()| async { Ok::<_, RpcError>(()) });
    let check = |result: Result<(), RpcError>, is_rejection| {
        let error = result.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ResourceExhausted);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(error.rejection().is_some(), is_rejection);
    };

    let http = ServiceBuilder::new()
        .layer(guard(Rejects(rejection.clone())).http())
        .service(serve("own", Json, endpoint()));
    check(
        client(http, Method::POST, uri(), Json).invoke(()).await,
        true,
    );
    let around = ServiceBuilder::new()
        .layer(guard(Rejects(rejection.clone())).rpc())
        .service(client(
            serve("own", Json, endpoint()),
            Method::POST,
            uri(),
            Json,
        ));
    check(around.invoke(()).await, true);

    let upstream = ServiceBuilder::new()
        .layer(guard(Rejects(rejection)).rpc())
        .service(endpoint());
    let address = listen(serve("upstream", Json, upstream)).await;
    let uri = format!("http://{address}/").parse().unwrap();
    let http = towerkit_http::client::<Full<Bytes>>();
    check(
        client(http, Method::POST, uri, Json).invoke(()).await,
        false,
    );
}

/// The time that is left goes to the upstream, where the deadline is that of the endpoint's request.
#[tokio::test(start_paused = true)]
async fn the_deadline_goes_on() {
    let endpoint = call_fn((), |(), request: EndpointRequest<()>| async move {
        let deadline: &Deadline = request.extensions.get().expect("a deadline");
        Ok::<_, RpcError>(deadline.remaining().as_millis() as u64)
    });
    let upstream = ServiceBuilder::new()
        .layer(
            DeadlineLayer::new(Duration::from_secs(60))
                .unwrap()
                .clock(towerkit_test::tokio_clock())
                .http(),
        )
        .service(serve("left", Json, endpoint));
    let http = ServiceBuilder::new()
        .layer(DeadlineInjectLayer::new().http())
        .service(upstream);
    let left: HttpClient<_, _, (), u64> = client(http, Method::POST, uri(), Json);

    let clock = towerkit_test::tokio_clock();
    let mut request = EndpointRequest::new("left", ());
    let deadline = Deadline::after(&clock, Duration::from_millis(700));
    request.extensions.insert(deadline);
    assert_eq!(left.invoke(request).await.unwrap(), 700);
    assert_eq!(left.invoke(()).await.unwrap(), 60_000);

    // The current deadline is that of the call around this one.
    let outer = ServiceBuilder::new()
        .layer(
            DeadlineLayer::new(Duration::from_millis(500))
                .unwrap()
                .clock(clock)
                .http(),
        )
        .service(serve(
            "outer",
            Json,
            endpoint_fn(left, |left, ()| async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                left.invoke(()).await
            }),
        ));
    let answer = crate::wire::call(outer, crate::wire::post("")).await;
    assert_eq!(answer.text(), "400");
}

/// A timeout around a client: the error says so, and the connection is closed.
#[tokio::test]
async fn dropping_the_future_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: Uri = format!("http://{}/", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let http = towerkit_http::client::<Full<Bytes>>();
    let waits: HttpClient<_, _, u32, u32> = client(http, Method::POST, uri, Json);
    for at_head in [true, false] {
        let mut call = Box::pin(waits.invoke(1));
        let accept = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut wire = Wire::accepted(stream);
            wire.head().await;
            wire.read_to("1").await;
            if !at_head {
                wire.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12")
                    .await;
            }
            wire
        };
        let wire = tokio::select! {
            _ = &mut call => panic!("the upstream does not answer"),
            wire = accept => wire,
        };
        if !at_head {
            let again = timeout(Duration::from_millis(20), &mut call).await;
            assert!(again.is_err());
        }
        drop(call);
        let closed = timeout(LIMIT, wire.rest())
            .await
            .expect("the connection is closed");
        assert_eq!(closed, b"");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_a_client_drops_the_call() {
    let futures = Dropped::default();
    let endpoint = endpoint_fn(futures.clone(), |futures, ()| async move {
        let _guard = futures.guard();
        std::future::pending::<Result<(), RpcError>>().await
    });
    let client: HttpClient<_, _, (), ()> =
        client(serve("wait", Json, endpoint), Method::POST, uri(), Json);
    let timed = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(5)).unwrap().rpc())
        .service(client);
    let error = timed.invoke(()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    assert_eq!(futures.count(), 1);
}

/// GK-HC-8, FIX-5: an error of decoding leaves no connection open: the next call uses it again.
#[tokio::test]
async fn a_connection_is_used_again_after_an_error_of_decoding() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: Uri = format!("http://{}/", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let http = towerkit_http::client::<Full<Bytes>>();
    let call: HttpClient<_, _, u32, u32> = client(http, Method::POST, uri, Json);
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut wire = Wire::accepted(stream);
        for (status, body) in [("200 OK", "{}"), ("404 Not Found", "{}"), ("200 OK", "17")] {
            wire.read_to("\r\n\r\n1").await;
            wire.send(format!(
                "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{body}"
            ))
            .await;
        }
        wire
    };
    let calls = async {
        assert_eq!(
            call.invoke(1).await.unwrap_err().code(),
            ErrorCode::Internal
        );
        assert_eq!(
            call.invoke(1).await.unwrap_err().code(),
            ErrorCode::NotFound
        );
        assert_eq!(call.invoke(1).await.unwrap(), 17);
    };
    tokio::join!(server, calls);
}

/// T-01, T-03, T-05: a limit around the HTTP service.
#[test]
fn readiness_is_that_of_the_http_service_and_a_drop_releases_all() {
    let limit = ConcurrencyLimitLayer::new(1).unwrap();
    let handle = limit.handle();
    let probe = towerkit_test::Probe::new();
    let counts = probe.counts();
    let http = ServiceBuilder::new().layer(limit.http()).service(probe);
    let encode =
        |act: towerkit_test::Action, head: &mut request::Parts| -> Result<Bytes, RpcError> {
            head.extensions.insert(act);
            Ok(Bytes::new())
        };
    let decode = |_: &http::response::Parts, body: Bytes| -> Result<Bytes, RpcError> { Ok(body) };
    let client = client(http, Method::GET, uri(), (encode, decode));
    let mut cx = Context::from_waker(Waker::noop());
    for polls in 0.. {
        let mut call = Box::pin(client.invoke(towerkit_test::Action::Pend(2)));
        let mut ended = false;
        for _ in 0..polls {
            ended = call.as_mut().poll(&mut cx).is_ready();
        }
        drop(call);
        assert_eq!((handle.snapshot().in_flight, counts.in_flight()), (0, 0));
        assert_eq!((counts.reserved(), counts.violations()), (0, 0));
        if ended {
            assert!(polls > 2);
            break;
        }
    }
    let error = crate::wire::block_on(client.invoke(towerkit_test::Action::Fail));
    assert_eq!(error.unwrap_err().code(), ErrorCode::Unavailable);
}

/// A client may be inside of an endpoint, and its error is that of the endpoint.
#[tokio::test]
async fn the_error_of_an_upstream_goes_through_a_service_to_its_caller() {
    let inner = endpoint_fn((), |(), ()| async {
        let wait = Duration::from_secs(7);
        Err::<(), _>(RpcError::new(ErrorCode::NotFound, "no such profile").with_retry_after(wait))
    });
    let inner: HttpClient<_, _, (), ()> =
        client(serve("inner", Json, inner), Method::POST, uri(), Json);
    let outer = endpoint_fn(inner, |inner, ()| async move {
        inner.invoke(()).await?;
        Ok::<_, BoxError>(())
    });
    let answer = crate::wire::call(serve("outer", Json, outer), crate::wire::post("")).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["detail"], "no such profile");
    assert_eq!(answer.header("retry-after"), Some("7"));
}

/// The encoder has the last word on the head.
#[test]
fn an_encoder_may_change_the_method_and_the_headers() {
    let encode = |n: u32, head: &mut request::Parts| -> Result<Bytes, RpcError> {
        head.method = Method::DELETE;
        head.uri = format!("/items/{n}").parse().unwrap();
        head.headers = HeaderMap::new();
        Ok(Bytes::new())
    };
    let mut head = Request::new(()).into_parts().0;
    EncodeRequest::encode_request(&encode, 7, &mut head).unwrap();
    let upstream = service_fn(|request: Request<Full<Bytes>>| async move {
        assert_eq!(
            (request.method(), request.uri().path()),
            (&Method::DELETE, "/items/7")
        );
        Ok::<_, Infallible>(response(200, ""))
    });
    let delete = client(upstream, Method::POST, uri(), (encode, Json));
    let deleted: Result<(), _> = crate::wire::block_on(delete.invoke(7));
    assert!(deleted.is_ok());
}
