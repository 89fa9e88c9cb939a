use std::{path::PathBuf, str::FromStr};

use towerkit::{
    auth::{ApiKeyAuth, ApiKeys, AuthLayer, BasicAuth, BearerAuth, PasswordFile},
    auth_jwt::{Algorithm, Jwks, JwksSource, Jwt},
    core::BoxError,
    log::EventLog,
};

/// A scheme of authentication, and the file or the server with its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthScheme {
    /// `basic:FILE`
    Basic(PathBuf),
    /// `api-key:FILE`
    ApiKey(PathBuf),
    /// `jwt:URL`
    Jwt(String),
}

/// The header of API keys.
const API_KEY: &str = "x-api-key";

impl AuthScheme {
    /// Makes a layer of the scheme, which logs why it refuses a call and why keys cannot be fetched.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or is invalid, or if the URL is.
    pub fn layer(&self, realm: &'static str) -> Result<AuthLayer, BoxError> {
        let layer = match self {
            Self::Basic(path) => {
                let users = PasswordFile::open(path)?;
                AuthLayer::new(BasicAuth::new(realm, users)?)
            }
            Self::ApiKey(path) => {
                let keys = ApiKeys::open(path)?;
                AuthLayer::new(ApiKeyAuth::header(realm, API_KEY, keys)?)
            }
            Self::Jwt(url) => {
                let source = match url.ends_with(".json") {
                    true => JwksSource::url(url),
                    false => JwksSource::provider(url),
                };
                // These examples run on a developer's machine, where the provider may speak plain HTTP.
                let algorithms = [Algorithm::Es256, Algorithm::Rs256];
                let keys = Jwks::new(source.development(), algorithms)?.events(EventLog::new());
                let jwt = Jwt::new(keys).audience(realm);
                AuthLayer::new(BearerAuth::new(realm, jwt)?)
            }
        };
        Ok(layer.events(EventLog::new()))
    }
}

impl FromStr for AuthScheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("basic", path)) if !path.is_empty() => Ok(Self::Basic(path.into())),
            Some(("api-key", path)) if !path.is_empty() => Ok(Self::ApiKey(path.into())),
            Some(("jwt", url)) if url.starts_with("http") => Ok(Self::Jwt(url.to_owned())),
            _ => Err("expected basic:FILE, api-key:FILE or jwt:URL".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_has_a_file_or_a_url() {
        let parse = |text: &str| text.parse::<AuthScheme>();
        assert_eq!(parse("basic:users"), Ok(AuthScheme::Basic("users".into())));
        assert_eq!(parse("api-key:keys"), Ok(AuthScheme::ApiKey("keys".into())));
        let url = "https://id.example.com/jwks.json";
        assert_eq!(
            parse(&format!("jwt:{url}")),
            Ok(AuthScheme::Jwt(url.to_owned()))
        );
        for text in ["", "basic", "basic:", "jwt:x", "digest:x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_with_its_name() {
        for scheme in ["basic:/nonexistent", "api-key:/nonexistent"] {
            let error = scheme
                .parse::<AuthScheme>()
                .unwrap()
                .layer("test")
                .unwrap_err();
            assert!(error.to_string().contains("/nonexistent"), "{error}");
        }
    }
}
