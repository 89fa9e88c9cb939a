use http::{Uri, uri::PathAndQuery};

use crate::PipelineError;

/// Reads the address of a receiver; `path` is where it receives, unless the address says it.
pub(crate) fn endpoint(address: &str, path: &'static str) -> Result<Uri, PipelineError> {
    let wrong = |why| PipelineError::new(format!("the endpoint {address:?} {why}"));
    let uri: Uri = address.parse().map_err(|error| {
        PipelineError::of(format!("the endpoint {address:?} is no address"), error)
    })?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(wrong("is not of the form http://host:port"));
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Ok(uri);
    }
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static(path));
    Uri::from_parts(parts).map_err(|_| wrong("takes no path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_added_where_there_is_none() {
        let read = |address| endpoint(address, "/v1/traces").map(|uri| uri.to_string());
        for address in ["http://collector:4318", "http://collector:4318/"] {
            assert_eq!(read(address).unwrap(), "http://collector:4318/v1/traces");
        }
        assert_eq!(
            read("http://[::1]:1/x?y=z").unwrap(),
            "http://[::1]:1/x?y=z"
        );
    }

    #[test]
    fn what_cannot_be_sent_to_is_rejected() {
        for address in [
            "",
            "collector",
            "collector:4318",
            "/v1/traces",
            "https://collector",
            "http://",
            "http://a b",
        ] {
            let error = endpoint(address, "/v1/traces").unwrap_err();
            assert!(
                error.to_string().contains(&format!("{address:?}")),
                "{error}"
            );
        }
    }
}
