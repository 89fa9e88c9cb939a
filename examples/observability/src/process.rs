use std::{
    env,
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{net::TcpStream, time::sleep};
use towerkit::core::BoxError;

/// Another program, which ends with this one at the latest.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    addr: SocketAddr,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a program that stands beside this one, with the flags and the value of the last of them.
    pub(crate) fn start(name: &'static str, flags: &[&str], last: &str) -> Result<Self, BoxError> {
        let path = env::current_exe()?.with_file_name(name);
        if !path.exists() {
            let path = path.display();
            return Err(format!("there is no {path}: `cargo build -p {name}` makes it").into());
        }
        let mut command = Command::new(path);
        command.args(flags).arg(last);
        Self::run(name, command, |command, addr| {
            command.arg("--addr").arg(addr);
        })
    }

    /// Starts a program that is told by `listen` where to listen.
    pub(crate) fn run(
        name: &'static str,
        mut command: Command,
        listen: impl FnOnce(&mut Command, &str),
    ) -> Result<Self, BoxError> {
        let addr = free()?;
        listen(&mut command, &addr.to_string());
        let log = env::temp_dir().join(format!("{name}-{}.log", addr.port()));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        Ok(Self {
            name,
            addr,
            log,
            child,
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until somebody listens.
    pub(crate) async fn answers(&mut self) -> Result<(), BoxError> {
        const TRIES: u32 = 1200;
        for _ in 0..TRIES {
            if TcpStream::connect(self.addr).await.is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(&self.log)?;
                return Err(format!("{} ends with {status}: {log}", self.name).into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err(format!("{} does not listen on {}", self.name, self.addr).into())
    }

    /// Ends the program, and returns what it has written to stderr.
    pub(crate) fn stop(mut self, signal: &str) -> Result<String, BoxError> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-s", signal, &id]).status()?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("{} ends with {status}", self.name).into());
        }
        Ok(fs::read_to_string(&self.log)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

/// Returns an address that was free a moment ago.
fn free() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
