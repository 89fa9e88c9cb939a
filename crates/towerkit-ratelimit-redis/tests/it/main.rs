//! The laws and the behaviour of the layer, without a server and against real servers.

mod behaviour;
mod contract;
mod error_replies;
mod servers;
