//! A service that calls whom it is told to call, inside the trace of its caller: what the conformance suite of W3C trace context
//! (`trace-context/test`) wants to talk to.
//!
//! `POST /test` takes `[{"url": "http://..", "arguments": [..]}, ..]` and posts the `arguments` of each entry to its `url`.

mod app;

pub use app::app;
