use std::{borrow::Cow, error::Error, fmt};

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};

/// A pipeline that cannot be started.
#[derive(Debug)]
pub struct PipelineError {
    what: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl PipelineError {
    pub(crate) fn new(what: impl Into<Cow<'static, str>>) -> Self {
        let what = what.into();
        Self { what, source: None }
    }

    pub(crate) fn of(
        what: impl Into<Cow<'static, str>>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            what: what.into(),
            source: Some(Box::new(source)),
        }
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "telemetry pipeline: {}", self.what)
    }
}

impl Error for PipelineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Telemetry that was not all sent within the time for it, or by an exporter that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushError(Why);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    Late,
    Over,
    Failed(String),
}

impl FlushError {
    #[cfg(feature = "metrics")]
    pub(crate) const LATE: Self = Self(Why::Late);

    /// Whether the time was too short; otherwise the exporter failed, or the pipeline was shut down before.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0 == Why::Late
    }
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Late => f.write_str("telemetry was not sent in time"),
            Why::Over => f.write_str("the telemetry pipeline was shut down before"),
            Why::Failed(why) => write!(f, "telemetry was not sent: {why}"),
        }
    }
}

impl Error for FlushError {}

pub(crate) fn result(result: OTelSdkResult) -> Result<(), FlushError> {
    result.map_err(|error| {
        FlushError(match error {
            OTelSdkError::Timeout(_) => Why::Late,
            OTelSdkError::AlreadyShutdown => Why::Over,
            OTelSdkError::InternalFailure(why) => Why::Failed(why),
        })
    })
}
