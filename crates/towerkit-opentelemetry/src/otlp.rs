//! What OTLP over gRPC and over HTTP have in common (the OTLP specification, version 1.10).

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

use crate::rejected::Rejected;

/// An export that failed.
pub(crate) struct Failure {
    why: String,
    /// Whether it may be tried again, and after which time, if the receiver says so.
    retry: Option<Option<Duration>>,
}

impl Failure {
    /// One that the same request would meet again.
    pub(crate) fn lasting(why: impl ToString) -> Self {
        let why = why.to_string();
        Self { why, retry: None }
    }

    /// One that may pass, after a time that the receiver perhaps says.
    pub(crate) fn passing(why: impl ToString, after: Option<Duration>) -> Self {
        let why = why.to_string();
        let retry = Some(after);
        Self { why, retry }
    }
}

/// How often a request is sent again.
const RETRIES: u32 = 3;
/// Before the first time; doubled for each one after it.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// Sends, again and again where it may help. The time for all of it is limited by who polls.
pub(crate) async fn retried<T, F>(send: impl Fn() -> F) -> Result<T, OTelSdkError>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut attempt = 0;
    loop {
        let failure = match send().await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let Some(after) = failure.retry.filter(|_| attempt < RETRIES) else {
            return Err(OTelSdkError::InternalFailure(failure.why));
        };
        let delay = FIRST_DELAY * 2_u32.pow(attempt);
        // From half of the delay on, so that processes that lost one receiver do not come back to it at once.
        let jitter = RandomState::new().hash_one(attempt) as u32;
        let delay = delay / 2 + (delay / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        tokio::time::sleep(after.unwrap_or_default().max(delay)).await;
        attempt += 1;
    }
}

/// Reads the fields of requests, such as a token, from `OTEL_EXPORTER_OTLP_HEADERS` and that variable of one signal, which goes first.
pub(crate) fn headers(signal: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in ["OTEL_EXPORTER_OTLP_HEADERS", signal] {
        let list = env::var(name).unwrap_or_default();
        headers.extend(list.split(',').filter_map(header));
    }
    headers
}

/// Reads `name=value`, of which the value is percent-encoded.
fn header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair.split_once('=')?;
    let name = HeaderName::from_str(name.trim()).ok()?;
    Some((name, HeaderValue::from_bytes(&decoded(value.trim())).ok()?))
}

fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| byte == b'%');
        let digits = digits.and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(encoded) => {
                bytes.push(encoded);
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

/// Sends requests of traces, by one of the two protocols.
pub(crate) trait SendSpans: Send + Sync + std::fmt::Debug {
    fn send(
        &self,
        request: ExportTraceServiceRequest,
    ) -> impl Future<Output = Result<ExportTraceServiceResponse, OTelSdkError>> + Send;
}

/// Exports spans by OTLP.
#[derive(Debug)]
pub(crate) struct OtlpSpans<S> {
    sender: S,
    resource: ResourceAttributesWithSchema,
    rejected: Rejected,
}

impl<S: SendSpans> OtlpSpans<S> {
    pub(crate) fn new(sender: S, rejected: Rejected) -> Self {
        Self {
            sender,
            resource: ResourceAttributesWithSchema::default(),
            rejected,
        }
    }
}

impl<S: SendSpans> SpanExporter for OtlpSpans<S> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let request = ExportTraceServiceRequest { resource_spans };
        let partial = self.sender.send(request).await?.partial_success;
        let partial = partial.unwrap_or_default();
        match u64::try_from(partial.rejected_spans) {
            // A message alone is a warning.
            Ok(0) | Err(_) => Ok(()),
            Ok(count) => {
                self.rejected.add(count);
                Err(rejection(count, "spans", &partial.error_message))
            }
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

fn rejection(count: u64, what: &str, message: &str) -> OTelSdkError {
    let why = format!("the receiver rejected {count} {what}: {message}");
    OTelSdkError::InternalFailure(why)
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

    use super::rejection;

    /// Sends requests of metrics, by one of the two protocols.
    pub(crate) trait SendMetrics: Send + Sync + 'static {
        fn send(
            &self,
            request: ExportMetricsServiceRequest,
        ) -> impl Future<Output = Result<ExportMetricsServiceResponse, OTelSdkError>> + Send;
    }

    /// Exports metrics by OTLP. An export of which anything is rejected has failed.
    pub(crate) struct OtlpMetrics<S>(pub(crate) S);

    impl<S: SendMetrics> PushMetricExporter for OtlpMetrics<S> {
        async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
            let partial = self.0.send(metrics.into()).await?.partial_success;
            let partial = partial.unwrap_or_default();
            match u64::try_from(partial.rejected_data_points) {
                Ok(0) | Err(_) => Ok(()),
                Ok(count) => Err(rejection(count, "data points", &partial.error_message)),
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
    fn fields_are_read_as_lists_of_pairs_with_encoded_values() {
        let read = |pair| {
            let (name, value) = header(pair)?;
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
    async fn a_failure_that_may_pass_is_tried_again_three_times_and_one_that_lasts_is_not() {
        let sent = AtomicU32::new(0);
        let send = |retry: Option<Duration>, lasts| {
            sent.fetch_add(1, Ordering::Relaxed);
            async move {
                Err::<(), _>(match lasts {
                    true => Failure::lasting("bad"),
                    false => Failure::passing("busy", retry),
                })
            }
        };
        let start = tokio::time::Instant::now();
        let error = retried(|| send(None, false)).await.unwrap_err();
        assert!(error.to_string().contains("busy"));
        assert_eq!(sent.swap(0, Ordering::Relaxed), 1 + RETRIES);
        let took = start.elapsed();
        assert!(
            took >= FIRST_DELAY * 7 / 2 && took <= FIRST_DELAY * 8,
            "{took:?}"
        );

        let start = tokio::time::Instant::now();
        let minute = Duration::from_secs(60);
        assert!(retried(|| send(Some(minute), false)).await.is_err());
        assert!(start.elapsed() >= minute * RETRIES);
        sent.store(0, Ordering::Relaxed);
        assert!(retried(|| send(None, true)).await.is_err());
        assert_eq!(sent.load(Ordering::Relaxed), 1);
    }
}
