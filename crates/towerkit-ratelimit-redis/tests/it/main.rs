//! A limit on Redis: its laws and its behaviour without a server, and with servers of its own.

mod answers;
mod behaviour;
mod contract;
mod servers;
