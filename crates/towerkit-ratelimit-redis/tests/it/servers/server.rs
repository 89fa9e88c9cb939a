use std::{
    ffi::OsString,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use towerkit_programs::{Program, free_port};
use towerkit_ratelimit_redis::redis::{Client, Connection};

/// A `redis-server` of the test, on a free port.
pub(crate) struct Server {
    pub(crate) port: u16,
    program: Program,
}

impl Server {
    /// Starts a server, and waits until it replies.
    pub(crate) fn start() -> Self {
        Self::with(|_| Vec::new())
    }

    /// Starts a server with more arguments, which `arguments` makes from the folder of the server.
    pub(crate) fn with(arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let (port, mut program) = (free_port(), Program::new("redis-server"));
        let basic = [
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ];
        let more = arguments(program.folder());
        let folder = ["--dir".into(), program.folder().into()];
        let all = basic
            .into_iter()
            .chain(["--appendonly", "no"])
            .map(OsString::from);
        let all: Vec<_> = all
            .chain(folder)
            .chain(more.into_iter().map(Into::into))
            .collect();
        program.start(all);
        let server = Self { port, program };
        server.wait_until_ready();
        server
    }

    /// Restarts the server on the same port.
    pub(crate) fn restart(&mut self) {
        self.program.restart();
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        until("redis-server replies", || {
            let mut answer = [0; 5];
            TcpStream::connect(("127.0.0.1", self.port)).is_ok_and(|mut stream| {
                stream.write_all(b"PING\r\n").is_ok()
                    && stream.read_exact(&mut answer).is_ok()
                    && answer == *b"+PONG"
            })
        });
    }

    /// Kills the server without closing its connections.
    pub(crate) fn kill(&mut self) {
        self.program.kill();
    }

    /// Sends a signal: `STOP` suspends the server, `CONT` resumes it.
    pub(crate) fn signal(&self, signal: &str) {
        self.program.signal(signal);
    }

    pub(crate) fn client(&self) -> Client {
        Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }

    /// Returns a connection of the test.
    pub(crate) fn connection(&self) -> Connection {
        self.client().get_connection().unwrap()
    }
}

/// Waits until `condition` holds, at most ten seconds.
pub(crate) fn until(description: &str, mut condition: impl FnMut() -> bool) {
    towerkit_programs::until(description, Duration::from_secs(10), || {
        condition().then_some(())
    });
}
