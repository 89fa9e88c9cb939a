//! Eureka, by a local implementation of its REST interface.

mod eureka;
mod eureka_server;
