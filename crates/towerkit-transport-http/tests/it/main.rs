//! Endpoints over HTTP: the behaviour as a caller sees it.

mod server;
