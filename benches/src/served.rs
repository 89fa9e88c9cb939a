use std::{
    env,
    fmt::Write,
    io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Pairs, Server};

/// Measures what stringsvc's stack leaves of bare axum's requests a second, and what `towerkit-server` does, as tables.
///
/// Both are programs of their own, built as `cargo build --release` builds them.
///
/// # Errors
///
/// If a server is not built, does not start, or breaks off.
pub fn loopback() -> io::Result<String> {
    let programs = build()?;
    let mut table = "| stringsvc over loopback, requests/s | bare axum | whole stack | share |\n\
                     |---|---:|---:|---:|\n"
        .to_owned();
    for (log, name) in [("off", "log off"), ("info", "log to /dev/null")] {
        let bare = Server::start(&mut Command::new(programs.join("examples/bare")))?;
        let full = Server::start(&mut stringsvc(&programs, log))?;
        let pairs = Pairs::measure(&bare, &full)?;
        let (bare, full, share) = (pairs.bare(), pairs.full(), pairs.share());
        let _ = writeln!(table, "| {name} | {bare:.0} | {full:.0} | {share:.3} |");
    }
    let bare = programs.join("examples/bare");
    let axum = Server::start(&mut Command::new(&bare))?;
    let ours = Server::start(Command::new(&bare).arg("towerkit"))?;
    let pairs = Pairs::measure(&axum, &ours)?;
    let (axum, ours, share) = (pairs.bare(), pairs.full(), pairs.share());
    let _ = writeln!(
        table,
        "\n| the same routes over loopback, requests/s | axum::serve | towerkit-server | share |\n\
         |---|---:|---:|---:|\n\
         | all limits on | {axum:.0} | {ours:.0} | {share:.3} |"
    );
    Ok(table)
}

/// Builds the programs beside this one, and returns their folder.
fn build() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    // Benchmarks are in the folder `deps` of theirs.
    let folder = program
        .ancestors()
        .find(|folder| folder.ends_with("release"));
    let folder = folder.ok_or_else(|| io::Error::other("this is no benchmark"))?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = "build --release --package stringsvc --bins --example bare --target-dir";
    let built = Command::new(cargo)
        .args(arguments.split(' '))
        .arg(folder.with_file_name(""))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    match built.success() {
        true => Ok(folder.to_owned()),
        false => Err(io::Error::other("stringsvc is not built")),
    }
}

/// The rate stands far above the load.
fn stringsvc(programs: &Path, log: &str) -> Command {
    let mut command = Command::new(programs.join("stringsvc"));
    let plenty = "1000000000";
    let rate = ["--rate", plenty, "--burst", plenty];
    command
        .args(["--addr", "127.0.0.1:0", "--log", log])
        .args(rate);
    command
}
