use std::io::BufRead;
use std::io::BufReader;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use crate::client::Client;

/// The program, running.
pub(crate) struct Running {
    child: Option<Child>,
    pub(crate) stdout: BufReader<ChildStdout>,
    pub(crate) addr: SocketAddr,
}

pub(crate) fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stringsvc"));
    command.env_clear().args(flags);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts the program on a free port.
pub(crate) fn start(flags: &[&str]) -> Running {
    run(command(&[&["--addr", "127.0.0.1:0"], flags].concat()))
}

pub(crate) fn run(mut command: Command) -> Running {
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let addr = line.trim_end().strip_prefix("listening on ").unwrap();
    Running {
        child: Some(child),
        addr: addr.parse().unwrap(),
        stdout,
    }
}

impl Running {
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addr).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id();
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {id}")])
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits until the program ends by itself.
    pub(crate) fn end(mut self) -> Output {
        let child = self.child.as_mut().unwrap();
        wait_until("the program ends", || child.try_wait().unwrap().is_some());
        self.child.take().unwrap().wait_with_output().unwrap()
    }

    pub(crate) fn is_listening(&self) -> bool {
        TcpStream::connect(self.addr).is_ok()
    }

    pub(crate) fn wait_for_a_call_in_flight(&self) {
        let active =
            r#"http_server_active_requests{http_request_method="POST",http_route="/uppercase"} 1"#;
        let mut client = self.client();
        wait_until("a call is in flight", || {
            client.get("/metrics").body.contains(active)
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(5));
    }
}
