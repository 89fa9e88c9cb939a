//! Load balancing as a caller sees it.

mod ejection;
mod elsewhere;
mod handle;
mod load;
mod membership;
mod readiness;
mod setup;
mod shares;
mod sockets;
mod under_load;
mod waiting;
mod zones;
