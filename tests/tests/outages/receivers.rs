//! Those who are told, in all the ways in which they can be of no use.

use std::{
    fs::File,
    io::{PipeReader, PipeWriter, Read, pipe},
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use axum::Router;
use http::{StatusCode, Uri};
use tokio::{
    io::{copy, sink},
    runtime::{Builder, Runtime},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The receivers are unreachable, and the pipe of the log is closed.
    Away,
    /// The receivers accept connections and do not read, and neither does the reader of the pipe.
    Silent,
    /// The receivers are unreachable, and the disk of the log is full.
    Full,
    /// The receivers work, and are killed halfway.
    Killed,
}

/// The destination of a log.
pub(crate) enum Sink {
    Pipe(PipeWriter),
    File(File),
}

pub(crate) struct Receivers {
    /// OTLP, Graphite and InfluxDB.
    pub(crate) tcp: [SocketAddr; 3],
    pub(crate) statsd: SocketAddr,
    pub(crate) sink: Mutex<Option<Sink>>,
    state: Mutex<Option<State>>,
}

/// The state of the receivers until they are killed.
enum State {
    Nothing,
    /// Open, and not read from.
    Silent(UdpSocket, PipeReader),
    Running(Runtime, Arc<AtomicBool>),
}

impl Receivers {
    pub(crate) fn start(kind: Kind) -> Self {
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = listeners
            .each_ref()
            .map(|listener| listener.local_addr().unwrap());
        let statsd = udp.local_addr().unwrap();
        let (reader, writer) = pipe().unwrap();
        let (state, sink) = match kind {
            Kind::Away => (State::Nothing, Sink::Pipe(writer)),
            Kind::Full => (
                State::Nothing,
                Sink::File(File::options().write(true).open("/dev/full").unwrap()),
            ),
            Kind::Silent => {
                for listener in listeners {
                    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
                }
                (State::Silent(udp, reader), Sink::Pipe(writer))
            }
            Kind::Killed => (running(listeners, udp, reader), Sink::Pipe(writer)),
        };
        Self {
            tcp,
            statsd,
            sink: Mutex::new(Some(sink)),
            state: Mutex::new(Some(state)),
        }
    }

    /// Ends those that run.
    pub(crate) fn kill(&self) {
        let mut state = self.state.lock().unwrap();
        match state.take() {
            Some(State::Running(runtime, is_killed)) => {
                is_killed.store(true, Ordering::Relaxed);
                runtime.shutdown_background();
            }
            other => *state = other,
        }
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.kill();
        if let Some(State::Silent(udp, reader)) = self.state.lock().unwrap().take() {
            drop((udp, reader));
        }
    }
}

/// Takes OTLP over HTTP and lines of InfluxDB by the same service: an empty answer is a good one to both.
fn running(listeners: [TcpListener; 3], udp: UdpSocket, mut reader: PipeReader) -> State {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    listeners
        .iter()
        .for_each(|listener| listener.set_nonblocking(true).unwrap());
    udp.set_nonblocking(true).unwrap();
    let [otlp, graphite, influx] =
        listeners.map(|listener| tokio::net::TcpListener::from_std(listener).unwrap());
    let udp = tokio::net::UdpSocket::from_std(udp).unwrap();
    let app = Router::new().fallback(|uri: Uri, _body: bytes::Bytes| async move {
        match uri.path() {
            "/write" => StatusCode::NO_CONTENT,
            _ => StatusCode::OK,
        }
    });
    runtime.spawn(async move { axum::serve(otlp, app).await });
    let app = Router::new().fallback(|_body: bytes::Bytes| async { StatusCode::NO_CONTENT });
    runtime.spawn(async move { axum::serve(influx, app).await });
    runtime.spawn(async move {
        while let Ok((mut connection, _)) = graphite.accept().await {
            tokio::spawn(async move { copy(&mut connection, &mut sink()).await });
        }
    });
    runtime.spawn(async move {
        let mut packet = [0; 2048];
        while udp.recv(&mut packet).await.is_ok() {}
    });
    let is_killed = Arc::new(AtomicBool::new(false));
    let killed = is_killed.clone();
    thread::spawn(move || {
        let mut lines = [0; 65536];
        while !killed.load(Ordering::Relaxed)
            && reader.read(&mut lines).is_ok_and(|length| length > 0)
        {}
    });
    State::Running(runtime, is_killed)
}
