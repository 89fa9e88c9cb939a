//! How the program behaves: its flags, its output, its signals.

mod auth;
mod flags;
mod log;
mod proxy;
mod signals;

use std::{process::Command, time::Duration};

use towerkit_programs::{Service, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stringsvc");

fn command(flags: &[&str]) -> Command {
    Service::command(PROGRAM, flags)
}

fn start(flags: &[&str]) -> Service {
    Service::start(PROGRAM, flags)
}

fn wait_until(condition: &str, mut holds: impl FnMut() -> bool) {
    let limit = Duration::from_secs(120);
    until(condition, limit, || holds().then_some(()));
}

/// The body that the printed lines send.
const BODY: &str = r#"{"s":"hello, world"}"#;
