use std::{error::Error, fmt, time::Duration};

use zookeeper_client::Error as ClientError;

/// A request to ZooKeeper that failed.
#[derive(Debug)]
pub(crate) struct RequestError {
    request: &'static str,
    kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Client(ClientError),
    /// No answer within this time.
    TimedOut(Duration),
    /// The connection was lost, and not found again in time.
    Disconnected,
    /// The attempt of another service over the same client failed, with this message.
    Shared(String),
}

impl RequestError {
    pub(crate) fn new(request: &'static str, kind: Kind) -> Self {
        Self { request, kind }
    }

    /// Returns true if a new session is to be made.
    pub(crate) fn is_of_session(&self) -> bool {
        match &self.kind {
            Kind::TimedOut(_) | Kind::Disconnected => true,
            Kind::Shared(_) => false,
            Kind::Client(error) => !matches!(
                error,
                ClientError::NoNode
                    | ClientError::NoAuth
                    | ClientError::NodeExists
                    | ClientError::NotEmpty
                    | ClientError::BadVersion
                    | ClientError::InvalidAcl
                    | ClientError::NoChildrenForEphemerals
                    | ClientError::NotReadOnly
                    | ClientError::QuotaExceeded
                    | ClientError::Throttled
                    | ClientError::Unimplemented
                    | ClientError::BadArguments(_)
            ),
        }
    }

    /// Returns the error of the library, if it is one.
    pub(crate) fn client_error(&self) -> Option<&ClientError> {
        match &self.kind {
            Kind::Client(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zookeeper {} failed: ", self.request)?;
        match &self.kind {
            Kind::Client(error) => error.fmt(f),
            Kind::TimedOut(after) => write!(f, "no answer within {after:?}"),
            Kind::Disconnected => f.write_str("the connection was lost"),
            Kind::Shared(message) => f.write_str(message),
        }
    }
}

impl Error for RequestError {}
