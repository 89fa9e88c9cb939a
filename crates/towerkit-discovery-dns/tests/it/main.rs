//! Tests of the source against name servers: one of the test, which can fail in any way, and dnsmasq.

mod behaviour;
mod dnsmasq;
mod name_server;
mod wait;
