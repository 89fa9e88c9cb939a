use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use crate::until;

/// Returns the command that runs a program: one that `scripts/tools` has unpacked or, if there is none, the first in `PATH`.
#[must_use]
pub fn command(name: &str) -> Command {
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/bin");
    let unpacked = Path::new(unpacked).join(name);
    if unpacked.exists() {
        return Command::new(unpacked);
    }
    Command::new(name)
}

/// A program with a folder of its own.
///
/// What it says goes into the file `output` there, which is shown if the test panics.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    folder: PathBuf,
    arguments: Vec<OsString>,
    child: Option<Child>,
}

/// Everything here panics if it cannot be done: there is nothing to test then.
#[expect(clippy::missing_panics_doc, reason = "said of all of them, above")]
impl Program {
    /// Makes the folder of a program, which is found by its name.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("towerkit-{name}-{}-{count}", process::id());
        let folder = env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("a temporary folder");
        Self {
            name,
            folder,
            arguments: Vec::new(),
            child: None,
        }
    }

    /// Returns its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts a file into its folder, and returns its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("a path of UTF-8").to_owned()
    }

    /// Reads a file in its folder; nothing if there is none.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// Starts it.
    pub fn start(&mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) {
        self.arguments = arguments.into_iter().map(Into::into).collect();
        self.restart();
    }

    /// Starts it again as it was started before.
    pub fn restart(&mut self) {
        let mut output = File::options();
        let output = output.create(true).append(true);
        let output = output.open(self.folder.join("output")).expect("a file");
        let child = command(self.name)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a handle"))
            .stderr(output)
            .spawn();
        let name = self.name;
        self.child = Some(child.unwrap_or_else(|error| panic!("{name} is installed: {error}")));
    }

    /// Kills it, without a word to its clients.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends it a signal: `STOP` makes it silent, from when this returns on, and `CONT` lets it go on.
    pub fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it runs");
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
        if signal == "STOP" {
            let status = format!("/proc/{}/status", child.id());
            until("it stands still", Duration::from_secs(120), || {
                let status = fs::read_to_string(&status).expect("it runs");
                status.contains("State:\tT").then_some(())
            });
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("{}: {}", self.name, self.read("output"));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
