//! How the program behaves: its flags, its output, its signals.

mod flags;
mod log;
mod running;
mod signals;

/// What the printed lines send.
const BODY: &str = r#"{"s":"hello, world"}"#;
