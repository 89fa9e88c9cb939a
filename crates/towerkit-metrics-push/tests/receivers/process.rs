//! A receiver of our own: on free ports, in a temporary folder, gone at the end of the test, also of one that panics.

use std::{
    fs::File,
    net::{TcpListener, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

pub(crate) struct Process {
    pub(crate) folder: PathBuf,
    program: &'static str,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Process {
    pub(crate) fn new(program: &'static str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("towerkit-{program}-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            folder,
            program,
            arguments: Vec::new(),
            child: None,
        }
    }

    /// Puts a file into its folder, and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    pub(crate) fn start(&mut self, arguments: impl IntoIterator<Item = String>) {
        self.arguments = arguments.into_iter().collect();
        self.restart();
    }

    pub(crate) fn restart(&mut self) {
        let output = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("output"))
            .unwrap();
        let child = Command::new(self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn();
        let program = self.program;
        self.child = Some(child.unwrap_or_else(|error| panic!("{program} is installed: {error}")));
    }

    /// Kills it, without a word to its clients.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends it a signal: `STOP` makes it silent, `CONT` lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it runs");
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
        if signal == "STOP" {
            let status = format!("/proc/{}/status", child.id());
            until("it stands still", || {
                let status = std::fs::read_to_string(&status).unwrap();
                status.contains("State:\tT").then_some(())
            });
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("{}: {}", self.program, self.read("output"));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A port that is free for TCP and UDP.
pub(crate) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until there is something, for at most twenty seconds.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
