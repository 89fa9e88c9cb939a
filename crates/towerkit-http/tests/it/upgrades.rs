//! After a switch of protocols, such as to a WebSocket, the call has ended and the connection goes on.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI32, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::{body::Incoming, client, server};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tower::{Layer, service_fn};
use towerkit_core::{Call, CallEnd, Observer, Outcome, Policy, Status, observe};
use towerkit_http::HttpExt;

/// Counts the calls in flight, and records their outcomes.
#[derive(Default)]
struct InFlight {
    calls: AtomicI32,
    ends: Mutex<Vec<CallEnd>>,
}

impl Policy for InFlight {
    type CallState = ();

    fn finish(&self, _state: (), end: &CallEnd) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
        self.ends.lock().unwrap().push(end.clone());
    }
}

impl<Req> Observer<Req> for InFlight {
    fn start(&self, _call: &mut Call<'_, Req>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// Switches protocols and then echoes its input.
async fn echo(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        let mut word = [0; 4];
        while stream.read_exact(&mut word).await.is_ok() {
            stream.write_all(&word).await.unwrap();
        }
    });
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let websocket = "websocket".parse().unwrap();
    response.headers_mut().insert("upgrade", websocket);
    Ok(response)
}

#[tokio::test]
async fn a_call_ends_when_the_connection_switches_protocols() {
    let in_flight = Arc::new(InFlight::default());
    let service = observe(in_flight.clone()).http().layer(service_fn(echo));
    let (ours, theirs) = duplex(1024);
    let server = server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(ours), TowerToHyperService::new(service))
        .with_upgrades();
    tokio::spawn(server);
    let (mut client, connection) = client::conn::http1::handshake(TokioIo::new(theirs))
        .await
        .unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::get("/")
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);

    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    for word in [b"ping", b"pong"] {
        assert_eq!(in_flight.calls.load(Ordering::Relaxed), 0);
        stream.write_all(word).await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, word);
    }
    let ends = in_flight.ends.lock().unwrap();
    let [end] = &ends[..] else {
        panic!("{ends:?}");
    };
    assert_eq!(end.outcome(), Outcome::Success);
    assert_eq!(end.status(), Some(Status::Http(101)));
}
