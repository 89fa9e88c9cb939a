use std::{fmt, fs, process::Command, thread};

/// What a run was measured on.
#[derive(Debug)]
pub struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    rustc: String,
    commit: String,
}

impl Machine {
    /// Describes this machine; what it does not tell is unknown.
    #[must_use]
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let processor = model.and_then(|line| line.split_once(": "));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: processor.map_or("unknown", |(_, name)| name).to_owned(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            kernel: kernel.trim().to_owned(),
            rustc: said_by("rustc", &["--version"]),
            commit: said_by("git", &["rev-parse", "--short", "HEAD"]),
        }
    }
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.unwrap_or_default()
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            processor,
            cores,
            kernel,
            rustc,
            commit,
        } = self;
        write!(
            f,
            "{processor}, {cores} cores, Linux {kernel}, {rustc}, commit {commit}"
        )
    }
}
