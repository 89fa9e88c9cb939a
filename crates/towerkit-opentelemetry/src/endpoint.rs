use http::{Uri, uri::PathAndQuery};

use towerkit_core::ConfigError;

/// Parses the address of a receiver; `path` is used if the address has no path.
pub(crate) fn parse_endpoint(address: &str, path: &'static str) -> Result<Uri, ConfigError> {
    let invalid = || {
        ConfigError::new(
            "endpoint",
            address,
            "an address of the form http://host:port",
        )
    };
    let uri: Uri = address.parse().map_err(|_| invalid())?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(invalid());
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Ok(uri);
    }
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static(path));
    Uri::from_parts(parts).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_the_default_path() {
        let read = |address| parse_endpoint(address, "/v1/traces").map(|uri| uri.to_string());
        for address in ["http://collector:4318", "http://collector:4318/"] {
            assert_eq!(read(address).unwrap(), "http://collector:4318/v1/traces");
        }
        assert_eq!(
            read("http://[::1]:1/x?y=z").unwrap(),
            "http://[::1]:1/x?y=z"
        );
    }

    #[test]
    fn an_address_without_http_and_host_is_rejected() {
        for address in [
            "",
            "collector",
            "collector:4318",
            "/v1/traces",
            "https://collector",
            "http://",
            "http://a b",
        ] {
            let error = parse_endpoint(address, "/v1/traces").unwrap_err();
            assert!(
                error.to_string().contains(&format!("{address:?}")),
                "{error}"
            );
        }
    }
}
