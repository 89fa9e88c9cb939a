//! The layers that protect a service and its callers, under load.
//!
//! ```sh
//! cargo run -p resilience                                     # the demo
//! cargo run -p resilience -- --html resilience.html           # the demo, with plots
//! cargo run -p resilience -- serve --addr 127.0.0.1:8081      # 20 requests of 20 ms at a time: 1000 calls a second
//! cargo run -p resilience -- load 127.0.0.1:8081 --rate 10000 # ten times that
//! ```
//!
//! # The demo
//!
//! A client calls an upstream 200 times a second, with a rate limit of 100. The upstream is healthy at first, then one call in twenty
//! is slow, then one in four fails, then all fail, then it is healthy again; each state takes four seconds. The stack of the client,
//! outermost first:
//!
//! | layer | what it does here | column |
//! |---|---|---|
//! | rate limit | admits 100 calls a second, and rejects the others | `limited` |
//! | retry | repeats failed attempts, up to 20 % of the calls and 10 a second | `retried` |
//! | hedge | sends a call that takes 50 ms once more, up to 5 % of the calls | `hedged` |
//! | circuit breaker | opens if half of the calls fail, and probes the upstream each second | `open` |
//! | timeout | limits each attempt to 200 ms | |
//!
//! Of the `admitted` calls, some are `served`, some are rejected because the breaker is `open`, and some have `failed` after all
//! retries. `arrived` counts the calls that reached the upstream: a few a second while it is down. `p99/ms` is the latency of the
//! served calls.
//!
//! With `--html`, the scenario runs six times in parallel: with the whole stack, and without each of its layers. The page has the same
//! plots for each run, and needs no network.
//!
//! # The server and the load generator
//!
//! `serve` serves a limited number of requests at a time and rejects the others; its health check and its metrics are outside of the
//! limit. `load` sends requests at a constant rate, also if the server is slow. Run them in two processes, built with `--release`: at
//! ten times its capacity the server serves as many requests, and as fast, as without the overload, and rejects the others at once.

mod args;
mod client;
mod demo;
mod html;
mod load;
pub mod plot;
mod second;
mod serve;
#[cfg(test)]
mod tests;
mod upstream;

pub use args::{Args, Command, Demo, LoadArgs, Serve};
pub use demo::demo;
pub use load::{Load, Report};
pub use serve::serve;
pub use upstream::{Upstream, UpstreamState};
