mod client_credentials;
mod config;
mod guard;
mod issued_token;
mod layer;
mod signed_tokens;

pub use client_credentials::ClientCredentials;
pub use guard::{AccessTokenFuture, AccessTokenPolicy};
pub use issued_token::{IssuedToken, TokenSource};
pub use layer::{AccessToken, AccessTokenLayer};
pub use signed_tokens::SignedTokens;
