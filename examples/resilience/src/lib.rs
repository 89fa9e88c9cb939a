//! Every way to protect a service and its callers, under load.
//!
//! ```sh
//! cargo run -p resilience                                     # the demo
//! cargo run -p resilience -- serve --addr 127.0.0.1:8081      # 20 places of 20 ms each: 1000 calls a second
//! cargo run -p resilience -- load 127.0.0.1:8081 --rate 10000 # ten times that
//! ```
//!
//! # The demo
//!
//! A client calls an upstream 200 times a second, within a limit of 100. The upstream is well at first, then one call in twenty is
//! slow, then one in four fails, then all do, then it is well again; four seconds each. The stack of the client, outermost first:
//!
//! | layer | what it does here |
//! |---|---|
//! | rate limit | admits 100 calls a second, and rejects the rest: `limited` |
//! | retry | tries a failed call again, up to 20 % of the calls and 10 a second: `retried` |
//! | hedge | sends a call that takes 50 ms once more, up to 5 % of the calls: `hedged` |
//! | circuit breaker | spares an upstream that fails half of its calls, and probes it each second: `open` |
//! | timeout | gives each attempt 200 ms |
//!
//! Of the calls that were `admitted`, some are `served`, some find the breaker `open`, and some have `failed` in spite of it all.
//! `arrived` is what reached the upstream. While it is down that falls to a few calls a second, whatever the callers do.
//!
//! # The server and the load
//!
//! `serve` does so much work at a time and sheds the rest; its health and metrics are outside of the limit. `load` sends requests at a
//! rate, whatever becomes of them. Put one against the other in two processes, built with `--release`: at ten times what it can do the
//! server does as much, and as fast, as at rest, and who is rejected hears so at once.

mod args;
mod client;
mod demo;
mod load;
mod serve;
mod table;
#[cfg(test)]
mod tests;
mod upstream;

pub use args::{Args, Command, Demo, LoadArgs, Serve};
pub use demo::demo;
pub use load::{Load, Report};
pub use serve::serve;
pub use upstream::{Mood, Upstream};
