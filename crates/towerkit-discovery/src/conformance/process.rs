use std::{
    env, fmt, fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::Server;

/// The time that a server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The ports that a server gets.
const PORTS: usize = 6;

/// The ports and the folder of a [`ServerProcess`].
#[derive(Debug)]
pub struct ServerFiles {
    /// Free ports of this host. Clients connect to the first.
    pub ports: [u16; PORTS],
    /// A folder for the data, which is deleted in the end.
    pub data: PathBuf,
    /// The output of the server.
    log: PathBuf,
}

/// A real server, run from its program on free ports and with a temporary folder, and killed when it is dropped.
pub struct ServerProcess {
    files: ServerFiles,
    command: Box<dyn Fn(&ServerFiles) -> Command + Send + Sync>,
    probe: (&'static str, &'static str),
    child: Option<Child>,
}

impl ServerProcess {
    /// Starts a server by a command, and waits until it answers `probe.0` by a text that contains `probe.1`.
    ///
    /// The probe is sent over TCP to the first port. It may be an HTTP request such as `GET /health HTTP/1.0\r\n\r\n`.
    ///
    /// # Panics
    ///
    /// Panics if the program is missing, or does not answer within a minute.
    pub async fn start(
        probe: (&'static str, &'static str),
        command: impl Fn(&ServerFiles) -> Command + Send + Sync + 'static,
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);

        let name = format!("towerkit-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
        let folder = env::temp_dir().join(name);
        let mut server = Self {
            files: ServerFiles {
                ports: free_ports(),
                data: folder.join("data"),
                log: folder.join("log"),
            },
            command: Box::new(command),
            probe,
            child: None,
        };
        server.restart().await;
        server
    }

    /// Returns the ports and the folder.
    #[must_use]
    pub fn files(&self) -> &ServerFiles {
        &self.files
    }

    async fn answers(&self) -> bool {
        let (request, expected) = self.probe;
        let ask = async {
            let mut connection = TcpStream::connect(self.address()).await?;
            connection.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            while !String::from_utf8_lossy(&answer).contains(expected) {
                if connection.read_buf(&mut answer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            io::Result::Ok(())
        };
        matches!(timeout(Duration::from_secs(1), ask).await, Ok(Ok(())))
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("the server runs");
        let status = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(status.expect("kill is there").success());
    }
}

impl Server for ServerProcess {
    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.files.ports[0]).into()
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn wipe(&mut self) {
        let _ = fs::remove_dir_all(&self.files.data);
    }

    async fn restart(&mut self) {
        fs::create_dir_all(&self.files.data).expect("the temporary folder is writable");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.files.log)
            .expect("the temporary folder is writable");
        let mut command = (self.command)(&self.files);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log);
        self.child = match command.spawn() {
            Ok(child) => Some(child),
            Err(error) => panic!(
                "{} is missing (scripts/tools --install): {error}",
                command.get_program().display()
            ),
        };
        let is_started = async {
            while !self.answers().await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(START_TIMEOUT, is_started).await.is_err() {
            let log = fs::read_to_string(&self.files.log).unwrap_or_default();
            panic!("the server does not start: {log}");
        }
    }

    fn pause(&mut self) {
        self.signal("-STOP");
    }

    fn resume(&mut self) {
        self.signal("-CONT");
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
        if let Some(folder) = self.files.data.parent() {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

impl fmt::Debug for ServerProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerProcess")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Returns free ports below those of outgoing connections, one of which could otherwise take the port of a server that restarts.
fn free_ports() -> [u16; PORTS] {
    // Kept until all are found, so that none is found twice.
    let mut listeners = Vec::new();
    while listeners.len() < PORTS {
        let address = (Ipv4Addr::LOCALHOST, fastrand::u16(12_000..32_000));
        listeners.extend(std::net::TcpListener::bind(address));
    }
    std::array::from_fn(|index| {
        let address = listeners[index].local_addr();
        address.expect("the listener is bound").port()
    })
}
