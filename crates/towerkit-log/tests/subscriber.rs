//! The set-up of a process, of which there is one: so there is one test here.

use std::{
    fmt,
    io::{Read, pipe},
    sync::Arc,
};

use towerkit_log::{Format, Targets, subscriber};

/// Logs while it is being logged: neither line may hold a piece of the other.
struct Logs;

impl fmt::Display for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::warn!("inner");
        f.write_str("shown")
    }
}

#[test]
fn a_second_global_subscriber_is_an_error() {
    let (mut log, writer) = pipe().unwrap();
    let targets: Targets = "warn,chatty=debug,quiet=off".parse().unwrap();
    subscriber(Format::Logfmt)
        .targets(targets)
        .writer(Arc::new(writer))
        .try_init()
        .unwrap();
    let error = subscriber(Format::Json).try_init().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the process has a tracing subscriber already"
    );

    tracing::info!("not this");
    tracing::warn!("this");
    tracing::debug!(target: "chatty::module", "and this");
    tracing::error!(target: "quiet", "nor this");
    tracing::error!(value = %Logs, "outer");
    // Records of the crate `log`, with their own targets, and with neither more nor less in a line than any other.
    log::info!("not this");
    log::warn!("it's {}", "token=abc\nlevel=error");
    log::debug!(target: "chatty::other", "and this");
    log::error!(target: "quiet", "nor this");
    log::error!(target: "towerkit::call", "no call");
    std::thread::spawn(|| tracing::error!("from any thread"))
        .join()
        .unwrap();

    let mut read = vec![0; 4096];
    let count = log.read(&mut read).unwrap();
    let text = std::str::from_utf8(&read[..count]).unwrap();
    let ends: Vec<_> = text
        .lines()
        .map(|line| line.split_once(" level=").unwrap().1)
        .collect();
    let expected = [
        "warn target=subscriber msg=this",
        "debug target=chatty::module msg=\"and this\"",
        "warn target=subscriber msg=inner",
        "error target=subscriber msg=outer value=shown",
        r#"warn target=subscriber msg="it's token=REDACTED\nlevel=error""#,
        "debug target=chatty::other msg=\"and this\"",
        "error target=towerkit::call msg=\"no call\"",
        "error target=subscriber msg=\"from any thread\"",
    ];
    assert_eq!(ends, expected);
}
