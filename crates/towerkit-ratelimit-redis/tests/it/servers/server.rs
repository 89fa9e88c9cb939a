use std::{
    ffi::OsString,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use towerkit_programs::{Program, free_port};
use towerkit_ratelimit_redis::redis::{Client, Connection};

/// A redis-server of our own, on a free port.
pub(crate) struct Server {
    pub(crate) port: u16,
    program: Program,
}

impl Server {
    /// Starts a server that answers when this returns.
    pub(crate) fn start() -> Self {
        Self::with(|_| Vec::new())
    }

    /// Starts a server with more arguments, which may name files that are put into its folder.
    pub(crate) fn with(arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let (port, mut program) = (free_port(), Program::new("redis-server"));
        let own = [
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ];
        let more = arguments(program.folder());
        let folder = ["--dir".into(), program.folder().into()];
        let all = own
            .into_iter()
            .chain(["--appendonly", "no"])
            .map(OsString::from);
        let all: Vec<_> = all
            .chain(folder)
            .chain(more.into_iter().map(Into::into))
            .collect();
        program.start(all);
        let server = Self { port, program };
        server.answers();
        server
    }

    /// Starts it again on its port.
    pub(crate) fn restart(&mut self) {
        self.program.restart();
        self.answers();
    }

    fn answers(&self) {
        until("redis-server answers", || {
            let mut answer = [0; 5];
            TcpStream::connect(("127.0.0.1", self.port)).is_ok_and(|mut stream| {
                stream.write_all(b"PING\r\n").is_ok()
                    && stream.read_exact(&mut answer).is_ok()
                    && answer == *b"+PONG"
            })
        });
    }

    /// Kills it, without a word to its clients.
    pub(crate) fn kill(&mut self) {
        self.program.kill();
    }

    /// Sends it a signal: `STOP` makes it silent, `CONT` lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        self.program.signal(signal);
    }

    pub(crate) fn client(&self) -> Client {
        Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }

    /// A connection of the test itself.
    pub(crate) fn connection(&self) -> Connection {
        self.client().get_connection().unwrap()
    }
}

/// Waits until it is so, for at most ten seconds.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    towerkit_programs::until(what, Duration::from_secs(10), || is_so().then_some(()));
}
