//! The string service, as those who call it and those who operate it see it.

mod http;
#[cfg(unix)]
mod process;
