//! Three instances behind a load balancer, of which one is killed, started again, and made slow, under load.
//!
//! ```sh
//! cargo run -p cluster                                            # a registry in memory
//! cargo run -p cluster -- --html cluster.html                     # with plots
//! cargo run -p cluster --features etcd -- --registry etcd         # a real registry, which runs already
//! ```
//!
//! A front calls the instances 200 times a second. It knows them from the registry, goes by calls in flight, and repeats a failed
//! attempt at another instance. Each phase takes four seconds:
//!
//! | phase | what happens |
//! |---|---|
//! | all well | each instance gets a third of the calls |
//! | b is killed | its connections break at once, its registration stays for two seconds; no call fails at the front |
//! | b is back | it registers again, and gets its third |
//! | c is slow | its calls take 100 ms and not 5 ms, so it gets few |
//! | all well again | it gets its third again |
//!
//! `at a`, `at b` and `at c` count the calls that arrived at each instance, `known` the instances in the set of the front.

mod args;
mod demo;
mod front;
mod html;
mod instance;
mod phase;
mod registry;
mod second;

pub use args::Args;
pub use demo::demo;
pub use phase::Phase;
pub use second::Second;

use front::front;
use instance::Instance;
use registry::Registry;
