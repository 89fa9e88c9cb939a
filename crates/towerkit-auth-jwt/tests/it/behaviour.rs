//! What callers, issuers and clients see.

mod access_token;
mod forged;
mod go_kit;
mod jwks;
mod layer;
mod pyjwt;
mod real_provider;
mod real_server;
mod verification;
