use std::{error::Error, fmt, io};

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use towerkit_core::ConfigError;

/// The error of a pipeline that cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipelineError {
    /// A setting or the endpoint is invalid.
    Config(ConfigError),
    /// The thread of the pipeline cannot start.
    Thread(io::Error),
}

impl From<ConfigError> for PipelineError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "telemetry pipeline: {error}"),
            Self::Thread(_) => f.write_str("telemetry pipeline: its thread cannot start"),
        }
    }
}

impl Error for PipelineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // The message contains the whole error.
            Self::Config(_) => None,
            Self::Thread(error) => Some(error),
        }
    }
}

/// The error of a flush or a shutdown that did not send all telemetry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushError(Reason);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    Timeout,
    ShutDown,
    Failed(String),
}

impl FlushError {
    #[cfg(feature = "metrics")]
    pub(crate) const TIMEOUT: Self = Self(Reason::Timeout);

    /// Returns true if the time limit expired, and false if the exporter failed or the pipeline was shut down before.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0 == Reason::Timeout
    }
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Timeout => f.write_str("telemetry was not sent in time"),
            Reason::ShutDown => f.write_str("the telemetry pipeline was shut down before"),
            Reason::Failed(reason) => write!(f, "telemetry was not sent: {reason}"),
        }
    }
}

impl Error for FlushError {}

pub(crate) fn from_sdk(result: OTelSdkResult) -> Result<(), FlushError> {
    result.map_err(|error| {
        FlushError(match error {
            OTelSdkError::Timeout(_) => Reason::Timeout,
            OTelSdkError::AlreadyShutdown => Reason::ShutDown,
            OTelSdkError::InternalFailure(reason) => Reason::Failed(reason),
        })
    })
}
