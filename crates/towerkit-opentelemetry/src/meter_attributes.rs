//! The labels of a series as attributes of OpenTelemetry.

use std::borrow::Cow;

use opentelemetry::{KeyValue, Value};
use towerkit_core::{Outcome, ProtocolKind, Side, Status, error_type};
use towerkit_metrics::MetricError;

use crate::meter_names::attribute;

/// Returns the attributes of a series. An empty label is omitted, as in Prometheus.
pub(crate) fn attributes(
    metric: &str,
    labels: &[(&str, &str)],
) -> Result<Box<[KeyValue]>, MetricError> {
    for (at, (name, _)) in labels.iter().enumerate() {
        if name.is_empty() || labels[..at].iter().any(|(other, _)| other == name) {
            return Err(MetricError::new(
                metric,
                "the name of a label is empty or occurs twice",
            ));
        }
    }
    let given = labels.iter().filter(|(_, value)| !value.is_empty());
    let pairs = given.map(|(name, value)| {
        KeyValue::new(
            attribute(metric, name).to_owned(),
            attribute_value(name, value),
        )
    });
    let error = error_type_of(metric, labels).map(|error| KeyValue::new("error.type", error));
    Ok(pairs.chain(error).collect())
}

/// Returns the value of an attribute; the conventions define the HTTP status as a number.
fn attribute_value(name: &str, value: &str) -> Value {
    let number = (name == "http_response_status_code").then(|| value.parse::<i64>().ok());
    match number.flatten() {
        Some(number) => number.into(),
        None => value.to_owned().into(),
    }
}

/// Returns the attribute `error.type` that the conventions require for a failed call, with the table that spans use too.
fn error_type_of(metric: &str, labels: &[(&str, &str)]) -> Option<Cow<'static, str>> {
    let label = |wanted| {
        let found = labels.iter().find(|(name, _)| *name == wanted);
        let value = found.map(|(_, value)| *value);
        value.filter(|value| !value.is_empty())
    };
    let (protocol, rest) = match metric.strip_prefix("http_") {
        Some(rest) => (ProtocolKind::Http, rest),
        None => {
            let rest = metric.strip_prefix("rpc_")?;
            match label("rpc_system_name") {
                Some("jsonrpc") => (ProtocolKind::JsonRpc, rest),
                _ => (ProtocolKind::Grpc, rest),
            }
        }
    };
    let side = match rest.starts_with("client_") {
        true => Side::Client,
        false => Side::Server,
    };
    let outcome = label("outcome").filter(|_| label("error_type").is_none())?;
    let outcome = Outcome::ALL
        .into_iter()
        .find(|known| known.as_str() == outcome)?;
    let http = label("http_response_status_code").and_then(|code| code.parse().ok());
    let grpc = label("rpc_status_code").and_then(|name| {
        let mut codes = (0..=16).map(Status::Grpc);
        codes.find(|code| code.rpc_status_code(protocol).as_deref() == Some(name))
    });
    error_type(side, protocol, outcome, http.map(Status::Http).or(grpc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes_of(metric: &str, labels: &[(&str, &str)]) -> Vec<String> {
        let attributes = attributes(metric, labels).unwrap();
        let pairs = attributes.iter().map(|pair| match &pair.value {
            Value::String(text) => format!("{}={text}", pair.key),
            value => format!("{}={value:?}", pair.key),
        });
        pairs.collect()
    }

    /// MT-07
    #[test]
    fn a_failed_call_has_its_error_type() {
        const HTTP: &str = "http_server_request_duration_seconds";
        let http = |metric, code, outcome| {
            let labels = [("http_response_status_code", code), ("outcome", outcome)];
            let found = attributes_of(metric, &labels);
            let error = found
                .iter()
                .find_map(|pair| pair.strip_prefix("error.type="));
            error.map(str::to_owned)
        };
        let string = |text: &str| Some(text.to_owned());
        assert_eq!(http(HTTP, "200", "success"), None);
        assert_eq!(http(HTTP, "404", "client_error"), None);
        assert_eq!(http(HTTP, "503", "failure"), string("503"));
        assert_eq!(http(HTTP, "200", "failure"), string("failure"));
        assert_eq!(http(HTTP, "", "cancelled"), string("cancelled"));
        let client = "http_client_request_duration_seconds";
        assert_eq!(http(client, "404", "client_error"), string("404"));
        let rpc = |code, outcome| {
            let labels = [("rpc_status_code", code), ("outcome", outcome)];
            attributes_of("rpc_server_call_duration_seconds", &labels)
        };
        let unavailable = rpc("UNAVAILABLE", "overloaded");
        assert_eq!(unavailable.last().unwrap(), "error.type=UNAVAILABLE");
        let json_rpc = |code, outcome| {
            let labels = [
                ("rpc_system_name", "jsonrpc"),
                ("rpc_status_code", code),
                ("outcome", outcome),
            ];
            attributes_of("rpc_server_call_duration_seconds", &labels)
        };
        let invalid = json_rpc("-32602", "client_error");
        assert_eq!(invalid.last().unwrap(), "error.type=-32602");
        assert_eq!(json_rpc("", "success").len(), 2);
        for (code, outcome) in [
            ("CANCELLED", "cancelled"),
            ("", "cancelled"),
            ("NOT_FOUND", "client_error"),
        ] {
            let found = rpc(code, outcome);
            assert!(
                !found.iter().any(|pair| pair.starts_with("error.type")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn invalid_labels_are_rejected_and_empty_ones_omitted() {
        assert!(attributes("m", &[("a", "1"), ("a", "2")]).is_err());
        assert!(attributes("m", &[("", "1")]).is_err());
        assert!(attributes_of("m", &[("a", "")]).is_empty());
        let code = attributes_of("m", &[("http_response_status_code", "404")]);
        assert_eq!(code, ["http.response.status_code=I64(404)"]);
    }
}
