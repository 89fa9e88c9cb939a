//! HTTP/2 over cleartext.

use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, client::SendRequest};
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use towerkit_server::{Drained, Server};

use crate::setup::{App, LONGER, Running, SHORT, read_to_close, soon, until};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A client that writes and reads frames.
struct Frames(TcpStream);

struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

impl Frames {
    /// Connects, and sends the preface with settings.
    async fn connect(server: &Running, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self(server.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await);
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        frames.write(SETTINGS, 0, 0, &payload).await;
        frames
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// Sends a `GET` without a body.
    async fn get(&mut self, stream: u32, path: &str) {
        // Indexes of the static table of HPACK: method GET, scheme http, then authority and path as literals.
        let mut block = vec![0x82, 0x86, 0x01, 1, b'a', 0x04, path.len() as u8];
        block.extend(path.as_bytes());
        self.write(HEADERS, END_STREAM | END_HEADERS, stream, &block)
            .await;
    }

    async fn read(&mut self) -> Frame {
        soon(async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.unwrap();
            Frame {
                kind: head[3],
                flags: head[4],
                payload,
            }
        })
        .await
    }

    /// Reads until a frame of this kind; acknowledges no ping.
    async fn read_to(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.read().await;
            if frame.kind == kind {
                return frame;
            }
        }
    }
}

/// A client of the crate `h2`, with its connection in the background.
async fn client(server: &Running) -> SendRequest<Bytes> {
    let stream = server.connect().await;
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    soon(client.ready()).await.unwrap()
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a{path}")).body(()).unwrap()
}

/// Sends a `GET` and reads its whole response; returns the status and the length of the body.
async fn fetch(client: &mut SendRequest<Bytes>, path: &str) -> Result<(u16, usize), h2::Error> {
    let (response, _) = client.send_request(get(path), true)?;
    let response = soon(response).await?;
    let status = response.status().as_u16();
    let (mut body, mut length) = (response.into_body(), 0);
    while let Some(bytes) = soon(body.data()).await {
        length += bytes?.len();
    }
    Ok((status, length))
}

#[tokio::test]
async fn calls_are_served_on_the_same_port_as_http_1() {
    let server = Running::start(Server::new()).await;
    let mut client = client(&server).await;
    assert_eq!(fetch(&mut client, "/").await.unwrap(), (200, 5));
    assert_eq!(fetch(&mut client, "/frames").await.unwrap(), (200, 50));
}

/// HT-12
#[tokio::test]
async fn the_drain_sends_goaway_in_two_steps() {
    let server = Running::start(Server::new()).await;
    let mut frames = Frames::connect(&server, &[]).await;
    frames.get(1, "/slow").await;
    // The head has arrived once the server has answered a later ping.
    frames.write(PING, 0, 0, b"12345678").await;
    loop {
        let ping = frames.read_to(PING).await;
        if ping.flags == ACK {
            break;
        }
    }
    let task = server.stop();
    let goaway = frames.read_to(GOAWAY).await;
    assert_eq!(goaway.payload[..4], [0x7f, 0xff, 0xff, 0xff]);
    let ping = frames.read_to(PING).await;
    // A call that was on its way is served.
    frames.get(3, "/").await;
    frames.write(PING, ACK, 0, &ping.payload).await;
    let (mut last_stream, mut hello, mut ended) = (None, 0, 0);
    while ended < 2 {
        let frame = frames.read().await;
        match frame.kind {
            GOAWAY => last_stream = Some(frame.payload[..4].to_vec()),
            DATA => {
                hello += usize::from(frame.payload == b"hello");
                ended += usize::from(frame.flags & END_STREAM != 0);
            }
            _ => {}
        }
    }
    assert_eq!(last_stream.unwrap(), [0, 0, 0, 3]);
    assert_eq!(hello, 2);
    assert_eq!(soon(task).await.unwrap(), Drained::Complete);
}

#[tokio::test]
async fn an_idle_connection_gets_a_goaway() {
    let server = Running::start(Server::new().idle_timeout(SHORT).unwrap()).await;
    let mut frames = Frames::connect(&server, &[]).await;
    frames.read_to(GOAWAY).await;
    // It acknowledges no ping, so that it is cut off a little later.
    read_to_close(&mut frames.0).await;
}

#[tokio::test]
async fn a_connection_before_its_first_call_is_idle() {
    let server = Running::start(Server::new().head_timeout(SHORT).unwrap()).await;
    let mut client = client(&server).await;
    sleep(LONGER).await;
    assert_eq!(fetch(&mut client, "/").await.unwrap(), (200, 5));
}

#[tokio::test]
async fn a_slow_call_and_a_slow_body_are_not_idle() {
    let server = Server::new().idle_timeout(SHORT).unwrap();
    let server = server.write_timeout(SHORT).unwrap();
    let server = Running::start(server.head_timeout(SHORT).unwrap()).await;
    let mut client = client(&server).await;
    assert_eq!(fetch(&mut client, "/slow").await.unwrap(), (200, 5));
    assert_eq!(fetch(&mut client, "/frames").await.unwrap(), (200, 50));
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_cut_off() {
    let server = Running::start(Server::new().ping_interval(SHORT).unwrap()).await;
    let mut frames = Frames::connect(&server, &[]).await;
    frames.get(1, "/wait").await;
    read_to_close(&mut frames.0).await;
}

/// HT-02
#[tokio::test]
async fn a_stream_without_a_window_is_cut_off() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let app = App::default();
    let server = Server::new().write_timeout(SHORT).unwrap();
    let server = Running::start_with(server, app.clone()).await;
    let mut frames = Frames::connect(&server, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    frames.get(1, "/flood").await;
    until(|| app.ended() == 1).await;
    read_to_close(&mut frames.0).await;
}

#[tokio::test]
async fn the_limit_of_streams_is_announced() {
    const MAX_CONCURRENT_STREAMS: [u8; 2] = [0, 3];
    let server = Running::start(Server::new().max_streams(7).unwrap()).await;
    let mut frames = Frames::connect(&server, &[]).await;
    let settings = frames.read_to(SETTINGS).await.payload;
    let announced = settings
        .chunks(6)
        .find(|setting| setting[..2] == MAX_CONCURRENT_STREAMS);
    assert_eq!(announced.unwrap()[2..], [0, 0, 0, 7]);
}

/// HT-05
#[tokio::test]
async fn a_client_that_resets_its_calls_is_cut_off_and_others_are_not() {
    let app = App::default();
    let server = Server::new().max_resets(100).unwrap();
    let server = Running::start_with(server, app.clone()).await;
    let mut other = client(&server).await;
    let mut abusive = client(&server).await;
    let error = soon(async {
        for call in 0.. {
            abusive = match abusive.ready().await {
                Ok(abusive) => abusive,
                Err(error) => return error,
            };
            match abusive.send_request(get("/wait"), true) {
                Ok((response, mut stream)) => {
                    // Before it has begun, the crate h2 of the server counts the reset, and has a limit of its own.
                    tokio::select! {
                        response = response => return response.unwrap_err(),
                        () = until(|| app.begun() > call) => stream.send_reset(Reason::CANCEL),
                    }
                }
                Err(error) => return error,
            }
        }
        unreachable!("the server has a limit")
    })
    .await;
    assert!(error.is_go_away() || error.is_io(), "{error}");
    assert!((100..110).contains(&app.begun()), "{}", app.begun());
    until(|| app.begun() == app.ended()).await;
    assert_eq!(fetch(&mut other, "/").await.unwrap(), (200, 5));
}

/// HT-08
#[tokio::test]
async fn the_calls_of_a_client_that_is_gone_are_dropped() {
    let app = App::default();
    let server = Server::new().half_close_timeout(SHORT);
    let server = Running::start_with(server, app.clone()).await;
    let mut frames = Frames::connect(&server, &[]).await;
    frames.get(1, "/wait").await;
    frames.get(3, "/endless").await;
    until(|| app.begun() == 2).await;
    drop(frames);
    until(|| app.ended() == 2).await;
}

/// HT-08
#[tokio::test]
async fn a_call_that_is_reset_is_dropped_and_the_connection_stays() {
    let app = App::default();
    let server = Running::start_with(Server::new(), app.clone()).await;
    let mut client = client(&server).await;
    let (response, mut stream) = client.send_request(get("/wait"), true).unwrap();
    until(|| app.begun() == 1).await;
    stream.send_reset(Reason::CANCEL);
    drop(response);
    until(|| app.ended() == 1).await;
    assert_eq!(fetch(&mut client, "/").await.unwrap(), (200, 5));
}

/// HT-07
#[tokio::test]
async fn a_panic_is_a_500_and_ends_no_other_stream() {
    let server = Running::start(Server::new()).await;
    let mut client = client(&server).await;
    let (status, _) = fetch(&mut client, "/panic").await.unwrap();
    assert_eq!(status, 500);
    assert_eq!(fetch(&mut client, "/").await.unwrap(), (200, 5));
}

#[tokio::test]
async fn calls_that_are_left_are_dropped_and_counted() {
    let app = App::default();
    let server = Server::new().drain_timeout(SHORT).unwrap();
    let server = Running::start_with(server, app.clone()).await;
    let mut client = client(&server).await;
    let calls: Vec<_> = ["/wait", "/wait", "/endless"]
        .map(|path| client.send_request(get(path), true).unwrap())
        .into();
    until(|| app.begun() == 3).await;
    let expected = Drained::CutOff {
        calls: 3,
        connections: 1,
    };
    assert_eq!(soon(server.stop()).await.unwrap(), expected);
    assert_eq!(app.ended(), 3);
    drop(calls);
}

/// HT-03
#[tokio::test]
async fn headers_over_the_limit_are_a_431() {
    let server = Server::new().max_headers(10).unwrap();
    let server = Running::start(server.max_header_bytes(8 << 10).unwrap()).await;
    let mut client = client(&server).await;
    let many = (0..11).map(|number| (format!("a{number}"), "b".to_owned()));
    let long = std::iter::once(("a".to_owned(), "b".repeat(9 << 10)));
    for headers in [many.collect::<Vec<_>>(), long.collect()] {
        let mut request = get("/");
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (response, _) = client.send_request(request, true).unwrap();
        assert_eq!(soon(response).await.unwrap().status(), 431);
    }
}

/// HT-02
#[tokio::test]
async fn a_request_body_that_stalls_gets_a_408() {
    let server = Running::start(Server::new().body_timeout(SHORT).unwrap()).await;
    let mut client = client(&server).await;
    let request = Request::post("http://a/echo").body(()).unwrap();
    let (response, _open) = client.send_request(request, false).unwrap();
    let response = soon(response).await.unwrap();
    assert_eq!(response.status(), 408);
    assert!(!response.headers().contains_key("connection"));
}

/// HT-05
#[tokio::test]
async fn a_flood_of_pings_delays_no_other_client() {
    let server = Running::start(Server::new()).await;
    let mut other = client(&server).await;
    let frames = Frames::connect(&server, &[]).await;
    let (_reads, mut writes) = frames.0.into_split();
    let flood = tokio::spawn(async move {
        let ping = [0, 0, 8, PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        let pings = ping.repeat(1000);
        // The server stops reading once its answers are not read.
        while writes.write_all(&pings).await.is_ok() {}
    });
    for _ in 0..20 {
        assert_eq!(fetch(&mut other, "/").await.unwrap(), (200, 5));
        sleep(Duration::from_millis(5)).await;
    }
    flood.abort();
}

/// A client that reads nothing answers no ping of the shutdown either.
#[tokio::test]
async fn an_idle_client_that_does_not_react_does_not_hold_the_shutdown_up() {
    let server = Server::new()
        .drain_timeout(Duration::from_secs(3600))
        .unwrap();
    let server = Running::start(server).await;
    let mut stream = server.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // An empty SETTINGS frame completes the preface.
    stream
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let mut settings = [0; 9];
    stream.read_exact(&mut settings).await.unwrap();
    assert!(soon(server.stop()).await.unwrap().is_complete());
}
