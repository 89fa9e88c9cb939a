//! The whole stack over real servers on the loopback interface: traces, logs and metrics of the same calls.

mod apart;
mod canary;
mod chains;
mod clients;
mod ends;
mod observed;
mod restarts;
mod server;
