//! Test services and the laws that every towerkit layer passes.
//!
//! One line tests a layer by the laws that need only the layer, around a plain service, over HTTP or over gRPC:
//!
//! ```
//! use towerkit_core::guard;
//! # use towerkit_core::{Call, CallEnd, Guard, Policy, Rejection};
//! # struct AdmitsAll;
//! # impl Policy for AdmitsAll { type CallState = (); fn finish(&self, _: (), _: &CallEnd) {} }
//! # impl<Req> Guard<Req> for AdmitsAll { fn admit(&self, _: &mut Call<'_, Req>) -> Result<(), Rejection> { Ok(()) } }
//! use towerkit_test::{Subject, contract};
//!
//! contract!(plain, PlainClient, Subject::new(guard(AdmitsAll)));
//! # fn main() {}
//! ```
//!
//! [`contract!`] makes a module of tests of the layer around a [`Probe`], one for each of these laws. All laws are functions in
//! [`laws`]: a test calls T-02, T-07 and T-12 there, which need more than the layer. The tests of this crate contain a broken layer for
//! each law, which the law must find.
//!
//! [`MockService`] is an inner service to which a test responds by hand, and [`run_paused`] runs a test with the paused time of tokio.
//!
//! The laws, with the ids of their acceptance cases:
//!
//! | law | id |
//! |---|---|
//! | `call` comes only after readiness of that instance | T-01 |
//! | each attempt of a layer that calls more than once is preceded by a readiness of its own | T-02 |
//! | a call that is dropped at any poll, and a body that is dropped at any frame, release all resources | T-03 |
//! | a panic of the inner service releases all resources of the call, and the next call succeeds | T-04 |
//! | a service that is ready and then dropped releases all resources | T-05 |
//! | a call, or a service, that waits is woken at most twice | T-06 |
//! | an invalid setting is an error, never a panic | T-07 |
//! | an error that can be neither cloned nor compared passes through unchanged | T-08 |
//! | the data, the trailers and the error of a response body pass through unchanged, and its size hints are correct | T-13 |
//! | a service that waits for backpressure is woken, also if other services are dropped | T-12 |

mod body_content;
mod call_counts;
mod client;
mod clock;
mod contract;
mod error;
mod events;
pub mod laws;
mod mock_service;
mod probe;
mod subject;
mod task;

pub use body_content::BodyContent;
pub use call_counts::CallCounts;
pub use client::{GrpcClient, HttpClient, HttpRequest, PlainClient, RpcClient, TestClient};
pub use clock::{run_paused, tokio_clock};
pub use error::ProbeError;
pub use events::all_events;
pub use mock_service::{MockError, MockFuture, MockService};
pub use probe::{Action, Probe, ProbeBody, ProbeFuture};
pub use subject::{BackpressureSubject, Subject};
pub use task::Task;
