//! The tests of the log, in one binary; `reload` and `subscriber` have one of their own, as each sets the subscriber of a process.

mod allocations;
mod background;
mod behaviour;
mod capture;
mod contract;
mod ends;
mod events;
mod identity;
mod lines;
mod many_threads;
mod page;
mod python;
mod read;
mod redaction;
mod sampling;
mod shutdown;
mod writers;
