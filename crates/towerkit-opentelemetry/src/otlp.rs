//! The common parts of OTLP over gRPC and over HTTP ([OTLP specification, version 1.10](https://opentelemetry.io/docs/specs/otlp/)).

use std::{
    env,
    hash::{BuildHasher, RandomState},
    str::FromStr,
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{
        common::tonic::ResourceAttributesWithSchema,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};

use crate::span_counts::RejectedSpans;

/// The error of one attempt to export.
pub(crate) struct ExportFailure {
    reason: String,
    retry: Retry,
}

enum Retry {
    Never,
    /// At the earliest after this time, as the receiver asks, or after the backoff.
    After(Duration),
}

impl ExportFailure {
    /// Creates an error that a retry cannot fix.
    pub(crate) fn permanent(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            retry: Retry::Never,
        }
    }

    /// Creates an error that may be retried, after the time for which the receiver asks.
    pub(crate) fn transient(reason: impl ToString, retry_after: Option<Duration>) -> Self {
        Self {
            reason: reason.to_string(),
            retry: Retry::After(retry_after.unwrap_or_default()),
        }
    }
}

/// The number of retries of an export.
const MAX_RETRIES: u32 = 3;
/// The backoff before the first retry, doubled before each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// Sends, and retries transient failures with exponential backoff and jitter. The caller limits the total time.
pub(crate) async fn send_with_retries<T, F>(send: impl Fn() -> F) -> Result<T, OTelSdkError>
where
    F: Future<Output = Result<T, ExportFailure>>,
{
    let mut attempt = 0;
    loop {
        let failure = match send().await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let retry_after = match failure.retry {
            Retry::After(retry_after) if attempt < MAX_RETRIES => retry_after,
            _ => return Err(OTelSdkError::InternalFailure(failure.reason)),
        };
        let backoff = FIRST_BACKOFF * 2_u32.pow(attempt);
        // Between half of the backoff and all of it, so that the clients of one receiver do not return at the same time.
        let jitter = RandomState::new().hash_one(attempt) as u32;
        let backoff = backoff / 2 + (backoff / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        tokio::time::sleep(retry_after.max(backoff)).await;
        attempt += 1;
    }
}

/// Reads the request headers, such as a token, from `OTEL_EXPORTER_OTLP_HEADERS` and from the variable of one signal, which overrides it
/// ([specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/#configuration-options)).
pub(crate) fn headers_from_env(signal: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in ["OTEL_EXPORTER_OTLP_HEADERS", signal] {
        let list = env::var(name).unwrap_or_default();
        headers.extend(list.split(',').filter_map(parse_header));
    }
    headers
}

/// Parses `name=value` with a percent-encoded value.
fn parse_header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair.split_once('=')?;
    let name = HeaderName::from_str(name.trim()).ok()?;
    let value = percent_decode(value.trim());
    Some((name, HeaderValue::from_bytes(&value).ok()?))
}

/// Decodes `%xx`; other text, also after a percent sign, is copied.
fn percent_decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| byte == b'%');
        let digits = digits.and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    bytes
}

/// A client for OTLP requests with spans, over gRPC or HTTP.
pub(crate) trait SendSpans: Send + Sync + std::fmt::Debug {
    fn send(
        &self,
        request: ExportTraceServiceRequest,
    ) -> impl Future<Output = Result<ExportTraceServiceResponse, OTelSdkError>> + Send;
}

/// A [`SpanExporter`] that sends OTLP requests.
#[derive(Debug)]
pub(crate) struct OtlpSpanExporter<S> {
    sender: S,
    resource: ResourceAttributesWithSchema,
    rejected: RejectedSpans,
}

impl<S: SendSpans> OtlpSpanExporter<S> {
    pub(crate) fn new(sender: S, rejected: RejectedSpans) -> Self {
        Self {
            sender,
            resource: ResourceAttributesWithSchema::default(),
            rejected,
        }
    }
}

impl<S: SendSpans> SpanExporter for OtlpSpanExporter<S> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let request = ExportTraceServiceRequest { resource_spans };
        let partial = self.sender.send(request).await?.partial_success;
        let partial = partial.unwrap_or_default();
        match u64::try_from(partial.rejected_spans) {
            // A message without rejected spans is a warning.
            Ok(0) | Err(_) => Ok(()),
            Ok(count) => {
                self.rejected.add(count);
                Err(partial_success(count, "spans", &partial.error_message))
            }
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

fn partial_success(count: u64, items: &str, message: &str) -> OTelSdkError {
    let reason = format!("the receiver rejected {count} {items}: {message}");
    OTelSdkError::InternalFailure(reason)
}

#[cfg(feature = "metrics")]
pub(crate) mod metrics {
    use std::time::Duration;

    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    };
    use opentelemetry_sdk::{
        error::{OTelSdkError, OTelSdkResult},
        metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    };

    use super::partial_success;

    /// A client for OTLP requests with metrics, over gRPC or HTTP.
    pub(crate) trait SendMetrics: Send + Sync + 'static {
        fn send(
            &self,
            request: ExportMetricsServiceRequest,
        ) -> impl Future<Output = Result<ExportMetricsServiceResponse, OTelSdkError>> + Send;
    }

    /// A [`PushMetricExporter`] that sends OTLP requests. A partial success is an error.
    pub(crate) struct OtlpMetricExporter<S>(pub(crate) S);

    impl<S: SendMetrics> PushMetricExporter for OtlpMetricExporter<S> {
        async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
            let partial = self.0.send(metrics.into()).await?.partial_success;
            let partial = partial.unwrap_or_default();
            match u64::try_from(partial.rejected_data_points) {
                Ok(0) | Err(_) => Ok(()),
                Ok(count) => Err(partial_success(
                    count,
                    "data points",
                    &partial.error_message,
                )),
            }
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
            Ok(())
        }

        fn temporality(&self) -> Temporality {
            Temporality::Cumulative
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn headers_are_parsed_from_a_list_of_pairs_with_encoded_values() {
        let read = |pair| {
            let (name, value) = parse_header(pair)?;
            Some(format!("{name}: {}", value.to_str().unwrap()))
        };
        assert_eq!(
            read(" Authorization = Bearer%20abc").unwrap(),
            "authorization: Bearer abc"
        );
        assert_eq!(read("a=b=c%").unwrap(), "a: b=c%");
        assert_eq!(read("a=%zz%2").unwrap(), "a: %zz%2");
        for bad in ["", "a", "=b", "a b=c", "a=%0a"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transient_failure_is_retried_three_times_and_a_permanent_one_is_not() {
        let sent = AtomicU32::new(0);
        let send = |retry_after: Option<Duration>, is_permanent| {
            sent.fetch_add(1, Ordering::Relaxed);
            async move {
                Err::<(), _>(match is_permanent {
                    true => ExportFailure::permanent("bad"),
                    false => ExportFailure::transient("busy", retry_after),
                })
            }
        };
        let start = tokio::time::Instant::now();
        let error = send_with_retries(|| send(None, false)).await.unwrap_err();
        assert!(error.to_string().contains("busy"));
        assert_eq!(sent.swap(0, Ordering::Relaxed), 1 + MAX_RETRIES);
        let took = start.elapsed();
        assert!(
            took >= FIRST_BACKOFF * 7 / 2 && took <= FIRST_BACKOFF * 8,
            "{took:?}"
        );

        let start = tokio::time::Instant::now();
        let minute = Duration::from_secs(60);
        assert!(
            send_with_retries(|| send(Some(minute), false))
                .await
                .is_err()
        );
        assert!(start.elapsed() >= minute * MAX_RETRIES);
        sent.store(0, Ordering::Relaxed);
        assert!(send_with_retries(|| send(None, true)).await.is_err());
        assert_eq!(sent.load(Ordering::Relaxed), 1);
    }
}
