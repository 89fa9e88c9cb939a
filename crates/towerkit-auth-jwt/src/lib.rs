//! JSON Web Tokens.

mod access_token;
mod algorithm;
mod base64_url;
mod claims;
mod compact;
mod der;
mod fetch;
mod jwk;
mod jwks;
mod jwks_source;
mod jwt;
mod key;
mod key_set;
mod keys;
mod load_schedule;
mod loader;
mod signing_key;
mod strict_json;
mod token_error;
mod token_hash;
mod verified_tokens;
#[cfg(test)]
mod wycheproof;

pub use access_token::{
    AccessToken, AccessTokenFuture, AccessTokenLayer, AccessTokenPolicy, ClientCredentials,
    IssuedToken, SignedTokens, TokenSource,
};
pub use algorithm::Algorithm;
pub use claims::Claims;
pub use jwks::{Jwks, JwksError};
pub use jwks_source::JwksSource;
pub use jwt::Jwt;
pub use key::Key;
pub use keys::Keys;
pub use signing_key::{SignError, SigningKey};
pub use token_error::TokenError;
