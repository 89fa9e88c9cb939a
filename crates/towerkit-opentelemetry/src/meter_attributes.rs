//! The labels of a series as attributes of OpenTelemetry.

use opentelemetry::{KeyValue, Value};
use towerkit_metrics::MetricError;

use crate::meter_names::attribute;

/// Makes the attributes of a series; an empty label is none, as to Prometheus.
pub(crate) fn attributes(
    metric: &str,
    labels: &[(&str, &str)],
) -> Result<Box<[KeyValue]>, MetricError> {
    for (at, (name, _)) in labels.iter().enumerate() {
        if name.is_empty() || labels[..at].iter().any(|(other, _)| other == name) {
            return Err(MetricError::new(metric, "a label is empty or there twice"));
        }
    }
    let given = labels.iter().filter(|(_, value)| !value.is_empty());
    let pairs =
        given.map(|(name, value)| KeyValue::new(attribute(name).to_owned(), typed(name, value)));
    let error = error_type(metric, labels);
    let error = error.map(|error| KeyValue::new("error.type", error.to_owned()));
    Ok(pairs.chain(error).collect())
}

/// To the conventions the status of HTTP is a number.
fn typed(name: &str, value: &str) -> Value {
    let number = (name == "http_response_status_code").then(|| value.parse::<i64>().ok());
    match number.flatten() {
        Some(number) => number.into(),
        None => value.to_owned().into(),
    }
}

/// What the conventions ask for besides, of a call that failed: the code where there is one, else how it ended.
fn error_type<'a>(metric: &str, labels: &[(&str, &'a str)]) -> Option<&'a str> {
    let label = |wanted| {
        let found = labels.iter().find(|(name, _)| *name == wanted);
        found
            .map(|(_, value)| *value)
            .filter(|value| !value.is_empty())
    };
    let is_conventional = metric.starts_with("http_") || metric.starts_with("rpc_");
    let outcome = label("outcome").filter(|_| is_conventional && label("error_type").is_none())?;
    let is_clients = metric.starts_with("http_client_") || metric.starts_with("rpc_client_");
    if outcome == "success" || (outcome == "client_error" && !is_clients) {
        return None;
    }
    let http = label("http_response_status_code").filter(|code| *code >= "400");
    let rpc = label("rpc_response_status_code").filter(|code| *code != "OK");
    Some(http.or(rpc).unwrap_or(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(metric: &str, labels: &[(&str, &str)]) -> Vec<String> {
        let attributes = attributes(metric, labels).unwrap();
        let pairs = attributes.iter();
        pairs
            .map(|pair| format!("{}={:?}", pair.key, pair.value))
            .collect()
    }

    /// MT-07
    #[test]
    fn a_call_that_failed_says_what_failed() {
        const HTTP: &str = "http_server_request_duration_seconds";
        let http = |metric, code, outcome| {
            let labels = [("http_response_status_code", code), ("outcome", outcome)];
            let said = said(metric, &labels);
            let error = said
                .iter()
                .find_map(|pair| pair.strip_prefix("error.type="));
            error.map(str::to_owned)
        };
        let string = |text: &str| Some(format!("{:?}", Value::from(text.to_owned())));
        assert_eq!(http(HTTP, "200", "success"), None);
        assert_eq!(http(HTTP, "404", "client_error"), None);
        assert_eq!(http(HTTP, "503", "failure"), string("503"));
        assert_eq!(http(HTTP, "200", "failure"), string("failure"));
        assert_eq!(http(HTTP, "", "cancelled"), string("cancelled"));
        let client = "http_client_request_duration_seconds";
        assert_eq!(http(client, "404", "client_error"), string("404"));
        let rpc = [
            ("rpc_response_status_code", "UNAVAILABLE"),
            ("outcome", "failure"),
        ];
        let said = said("rpc_server_call_duration_seconds", &rpc);
        assert!(said.last().unwrap().contains("UNAVAILABLE"), "{said:?}");
    }

    #[test]
    fn labels_that_are_none_are_refused_and_empty_ones_left_out() {
        assert!(attributes("m", &[("a", "1"), ("a", "2")]).is_err());
        assert!(attributes("m", &[("", "1")]).is_err());
        assert!(said("m", &[("a", "")]).is_empty());
        let code = said("m", &[("http_response_status_code", "404")]);
        assert_eq!(code, ["http.response.status_code=I64(404)"]);
    }
}
