use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use crate::{Client, until};

/// A service of the examples, running on a free port until it is dropped.
///
/// Its first line on stdout is `listening on ADDRESS`.
#[derive(Debug)]
pub struct Service {
    child: Option<Child>,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

const LIMIT: Duration = Duration::from_secs(120);

#[expect(
    clippy::missing_panics_doc,
    reason = "each panics if the program does not do what the test needs"
)]
impl Service {
    /// Returns the command that runs a service, with an empty environment.
    #[must_use]
    pub fn command(program: &str, flags: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.env_clear().args(flags);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts a service on a free port.
    #[must_use]
    pub fn start(program: &str, flags: &[&str]) -> Self {
        let flags = [&["--addr", "127.0.0.1:0"], flags].concat();
        Self::run(Self::command(program, &flags))
    }

    /// Runs a command, and reads the address from its first line.
    #[must_use]
    pub fn run(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the program prints");
        let address = line.trim_end().strip_prefix("listening on ");
        let address = address.unwrap_or_else(|| panic!("no address: {line:?}"));
        Self {
            child: Some(child),
            stdout,
            address: address.parse().expect("an address"),
        }
    }

    /// Returns the address on which the service listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the next line on stdout.
    pub fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout
            .read_line(&mut line)
            .expect("the program prints");
        line
    }

    /// Connects a client.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::connect(self.address).expect("the service listens")
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id();
        let status = Command::new("kill")
            .args([format!("-{name}"), id.to_string()])
            .status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    /// Waits until the program ends by itself.
    #[must_use]
    pub fn end(mut self) -> Output {
        let mut child = self.child.take().expect("it runs");
        until("the program ends", LIMIT, || {
            child.try_wait().expect("its own child")
        });
        child.wait_with_output().expect("its output")
    }

    /// Returns true if the service takes connections.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        TcpStream::connect(self.address).is_ok()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
