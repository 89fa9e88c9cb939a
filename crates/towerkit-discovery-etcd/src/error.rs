use std::{error::Error, fmt, time::Duration};

use etcd_client::Error as ClientError;

/// A request to etcd that failed.
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
    /// The watch ended, for this reason.
    Ended(String),
    /// The attempt of another service over the same client failed, with this message.
    Shared(String),
}

impl RequestError {
    pub(crate) fn new(request: &'static str, kind: Kind) -> Self {
        Self { request, kind }
    }

    /// Returns true if the connection is to be made anew: it is broken, or its login does not hold any more.
    pub(crate) fn is_of_connection(&self) -> bool {
        match &self.kind {
            Kind::TimedOut(_) => true,
            Kind::Shared(_) => false,
            // This member is cut off from the others.
            Kind::Ended(reason) => reason.contains("no leader"),
            Kind::Client(ClientError::GRpcStatus(status)) => {
                // tonic reports a connection that breaks as one of the first two.
                matches!(
                    status.code() as i32,
                    UNKNOWN | CANCELLED | UNAVAILABLE | UNAUTHENTICATED | INTERNAL
                )
            }
            Kind::Client(_) => true,
        }
    }

    /// Returns true if the lease of a registration is gone.
    pub(crate) fn is_lease_lost(&self) -> bool {
        match &self.kind {
            Kind::Client(ClientError::LeaseKeepAliveError(_)) => true,
            Kind::Client(ClientError::GRpcStatus(status)) => status.code() as i32 == NOT_FOUND,
            _ => false,
        }
    }

    /// Returns true if an answer was longer than the client reads.
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(&self.kind, Kind::Client(ClientError::GRpcStatus(status))
            if matches!(status.code() as i32, OUT_OF_RANGE | RESOURCE_EXHAUSTED))
    }
}

// The codes of gRPC.
const CANCELLED: i32 = 1;
const UNKNOWN: i32 = 2;
const NOT_FOUND: i32 = 5;
const RESOURCE_EXHAUSTED: i32 = 8;
const OUT_OF_RANGE: i32 = 11;
const INTERNAL: i32 = 13;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd {} failed: ", self.request)?;
        let (message, source): (String, Option<&(dyn Error + 'static)>) = match &self.kind {
            Kind::Client(ClientError::GRpcStatus(status)) => {
                (status.message().to_owned(), status.source())
            }
            Kind::Client(ClientError::TransportError(error)) => (error.to_string(), error.source()),
            Kind::Client(error) => (error.to_string(), None),
            Kind::TimedOut(after) => (format!("no answer within {after:?}"), None),
            Kind::Ended(reason) | Kind::Shared(reason) => (reason.clone(), None),
        };
        f.write_str(&message)?;
        // The error of the library has no source, and its message does not say why it could not connect.
        let (mut source, mut written) = (source, message);
        while let Some(error) = source {
            let message = error.to_string();
            if !written.contains(&message) && message != "transport error" {
                write!(f, ": {message}")?;
                written.push_str(&message);
            }
            source = error.source();
        }
        Ok(())
    }
}

impl Error for RequestError {}
