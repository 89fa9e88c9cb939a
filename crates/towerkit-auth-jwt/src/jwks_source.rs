use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http::Uri;
use serde_json::Value;
use towerkit_core::{BoxError, ConfigError};

use crate::{
    fetch::{Fetch, parse_url},
    key_set::MAX_DOCUMENT,
    strict_json,
};

/// The place of a JSON Web Key Set: a URL, a file, or an OpenID provider.
#[derive(Debug, Clone)]
pub struct JwksSource {
    place: Place,
    development: bool,
}

#[derive(Debug, Clone)]
enum Place {
    Url(String),
    File(PathBuf),
    Provider(String),
}

/// A place that was checked.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Url(Uri),
    File(PathBuf),
    Provider {
        issuer: Box<str>,
        configuration: Uri,
        development: bool,
    },
}

impl JwksSource {
    /// Takes the keys from a URL, such as `https://id.example.com/jwks.json`.
    #[must_use]
    pub fn url(url: impl Into<String>) -> Self {
        Self::new(Place::Url(url.into()))
    }

    /// Takes the keys from a file.
    #[must_use]
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::new(Place::File(path.as_ref().to_owned()))
    }

    /// Takes the keys of an OpenID provider, by [OpenID Connect Discovery] of its issuer, such as `https://id.example.com`.
    ///
    /// Tokens must be by this issuer, unless [`Jwt::issuer`](crate::Jwt::issuer) says otherwise. The document must name exactly this
    /// issuer, and is read again with each load of the keys.
    ///
    /// [OpenID Connect Discovery]: https://openid.net/specs/openid-connect-discovery-1_0.html
    #[must_use]
    pub fn provider(issuer: impl Into<String>) -> Self {
        Self::new(Place::Provider(issuer.into()))
    }

    /// Permits URLs without TLS, for development.
    #[must_use]
    pub fn development(mut self) -> Self {
        self.development = true;
        self
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            development: false,
        }
    }

    pub(crate) fn check(self) -> Result<Source, ConfigError> {
        let development = self.development;
        Ok(match self.place {
            Place::Url(url) => Source::Url(parse_url("key set", &url, development)?),
            Place::File(path) => Source::File(path),
            Place::Provider(issuer) => {
                let url = format!(
                    "{}/.well-known/openid-configuration",
                    issuer.trim_end_matches('/')
                );
                // A query would swallow the path that is appended.
                if issuer.contains(['?', '#']) {
                    return Err(ConfigError::new(
                        "issuer",
                        issuer,
                        "a URL without query and fragment",
                    ));
                }
                parse_url("issuer", &issuer, development)?;
                Source::Provider {
                    configuration: parse_url("issuer", &url, development)?,
                    issuer: issuer.into(),
                    development,
                }
            }
        })
    }
}

impl Source {
    pub(crate) fn issuer(&self) -> Option<&str> {
        match self {
            Self::Provider { issuer, .. } => Some(issuer),
            Self::Url(_) | Self::File(_) => None,
        }
    }

    /// Reads the document.
    pub(crate) async fn load(&self, fetch: &Fetch) -> Result<Bytes, BoxError> {
        match self {
            Self::Url(url) => fetch.get(url, MAX_DOCUMENT).await,
            Self::File(path) => {
                let path = path.clone();
                Ok(tokio::task::spawn_blocking(move || read(&path)).await??)
            }
            Self::Provider {
                issuer,
                configuration,
                development,
            } => {
                let document = fetch.get(configuration, MAX_DOCUMENT).await?;
                let keys = jwks_uri(&document, issuer, *development)?;
                fetch.get(&keys, MAX_DOCUMENT).await
            }
        }
    }
}

/// Reads a file, with one byte more than a document may have.
pub(crate) fn read(path: &Path) -> Result<Bytes, std::io::Error> {
    let mut document = Vec::new();
    let limit = MAX_DOCUMENT as u64 + 1;
    fs::File::open(path)?
        .take(limit)
        .read_to_end(&mut document)?;
    Ok(document.into())
}

/// Reads the place of the keys from the configuration of a provider (OpenID Connect Discovery 1.0, section 4).
fn jwks_uri(document: &[u8], issuer: &str, development: bool) -> Result<Uri, BoxError> {
    let document = strict_json::object(document)?;
    let text = |member: &str| document.get(member).and_then(Value::as_str);
    if text("issuer") != Some(issuer) {
        return Err("the configuration of the provider names another issuer".into());
    }
    let keys = text("jwks_uri").ok_or("the configuration of the provider has no `jwks_uri`")?;
    Ok(parse_url("jwks_uri", keys, development)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_is_accepted_unless_it_is_development() {
        for url in [
            "http://id.example/jwks",
            "ftp://id.example",
            "id.example",
            "",
            "https://a:b@id.example",
            "/x",
        ] {
            let error = JwksSource::url(url).check().unwrap_err();
            assert_eq!(error.setting(), "key set", "{url}");
        }
        assert!(JwksSource::url("https://id.example/jwks").check().is_ok());
        assert!(
            JwksSource::url("http://[::1]:80/jwks")
                .development()
                .check()
                .is_ok()
        );
        assert!(
            JwksSource::url("ftp://id.example")
                .development()
                .check()
                .is_err()
        );
        assert!(
            JwksSource::provider("https://id.example/?a")
                .check()
                .is_err()
        );
        assert!(JwksSource::provider("http://id.example").check().is_err());
    }

    #[test]
    fn the_issuer_of_a_provider_is_compared_exactly() {
        let document = br#"{"issuer":"https://id.example","jwks_uri":"https://id.example/jwks"}"#;
        assert!(jwks_uri(document, "https://id.example", false).is_ok());
        for issuer in [
            "https://id.example/",
            "https://ID.example",
            "https://id.exampl",
            "",
        ] {
            assert!(jwks_uri(document, issuer, false).is_err(), "{issuer}");
        }
        let plain = br#"{"issuer":"https://id.example","jwks_uri":"http://id.example/jwks"}"#;
        assert!(jwks_uri(plain, "https://id.example", false).is_err());
        assert!(jwks_uri(b"{}", "https://id.example", false).is_err());
    }
}
