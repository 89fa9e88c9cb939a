use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use towerkit_core::{BoxError, CarriesRejection, ErrorCode, Rejection, causes};

/// An error that a transport can send to the caller: it has a code, and a message without internals.
///
/// Implement it for the error type of a service. [`RpcError`] is for a service without a type of its own, and for clients.
///
/// ```
/// use std::borrow::Cow;
/// use towerkit_core::{CarriesRejection, ErrorCode, Rejection};
/// use towerkit_endpoint::{IntoRpcError, RpcError};
///
/// #[derive(Debug)]
/// enum StoreError {
///     Missing,
///     Exists,
///     /// A rejection by a layer, or the error of a client.
///     Rpc(RpcError),
/// }
///
/// impl IntoRpcError for StoreError {
///     fn code(&self) -> ErrorCode {
///         match self {
///             Self::Missing => ErrorCode::NotFound,
///             Self::Exists => ErrorCode::AlreadyExists,
///             Self::Rpc(error) => error.code(),
///         }
///     }
///
///     fn message(&self) -> Cow<'_, str> {
///         match self {
///             Self::Missing => "no such profile".into(),
///             Self::Exists => "the profile exists".into(),
///             Self::Rpc(error) => error.message(),
///         }
///     }
///
///     fn as_rpc_error(&self) -> Option<&RpcError> {
///         match self {
///             Self::Rpc(error) => Some(error),
///             _ => None,
///         }
///     }
/// }
///
/// impl CarriesRejection for StoreError {
///     fn from_rejection(rejection: Rejection) -> Self {
///         Self::Rpc(rejection.into())
///     }
///
///     fn rejection(&self) -> Option<&Rejection> {
///         match self {
///             Self::Rpc(error) => error.rejection(),
///             _ => None,
///         }
///     }
/// }
///
/// let error = StoreError::Missing.into_rpc_error();
/// assert_eq!(error.to_string(), "not_found: no such profile");
/// ```
#[diagnostic::on_unimplemented(
    message = "the error type `{Self}` has no code for the wire",
    label = "a transport, or a layer with `.rpc()`, cannot read this error",
    note = "implement `towerkit_endpoint::IntoRpcError` for an error type of your own, or use `towerkit_endpoint::RpcError`"
)]
pub trait IntoRpcError: CarriesRejection {
    /// Returns the code. That of a rejection is determined by its reason.
    fn code(&self) -> ErrorCode;

    /// Returns the message for the caller, which must not contain internals.
    fn message(&self) -> Cow<'_, str>;

    /// Returns the error of a client, or of a layer, that this error contains, if it contains one.
    ///
    /// The methods below take their properties from it.
    fn as_rpc_error(&self) -> Option<&RpcError>;

    /// Returns the time after which a retry may succeed, if it is known.
    fn retry_after(&self) -> Option<Duration> {
        match (self.rejection(), self.as_rpc_error()) {
            (Some(rejection), _) => rejection.retry_after(),
            (None, error) => error?.retry_after(),
        }
    }

    /// Returns the HTTP status of a response for the error; that of its code by default.
    ///
    /// Only a status of 400 to 599 has an effect. Other transports use the code.
    fn http_status(&self) -> u16 {
        match (self.rejection(), self.as_rpc_error()) {
            (None, Some(error)) => error.http_status(),
            _ => self.code().http_status(),
        }
    }

    /// Returns true if the request certainly never reached the upstream.
    fn is_unsent(&self) -> bool {
        self.as_rpc_error().is_some_and(RpcError::is_unsent)
    }

    /// Converts the error.
    fn into_rpc_error(self) -> RpcError
    where
        Self: Sized,
    {
        match (self.rejection(), self.as_rpc_error()) {
            (Some(rejection), _) => return rejection.clone().into(),
            (None, Some(error)) => return error.clone(),
            (None, None) => {}
        }
        let error = RpcError::new(self.code(), self.message().into_owned());
        let mut error = error.with_http_status(self.http_status());
        error.0.retry_after = self.retry_after();
        error.0.is_unsent = self.is_unsent();
        error
    }
}

/// The error of a service without an error type of its own, and of every client of this project.
///
/// A client makes it from the response of the upstream: with its code, its message, and the time after which a retry may succeed.
///
/// ```
/// use towerkit_core::ErrorCode;
/// use towerkit_endpoint::{IntoRpcError, RpcError};
///
/// let error = RpcError::new(ErrorCode::InvalidArgument, "the list is empty");
/// assert_eq!(error.code(), ErrorCode::InvalidArgument);
/// assert_eq!(error.to_string(), "invalid_argument: the list is empty");
/// ```
// Boxed, so that results stay small.
#[derive(Clone)]
pub struct RpcError(Box<Parts>);

#[derive(Clone)]
struct Parts {
    code: ErrorCode,
    message: Cow<'static, str>,
    rejection: Option<Rejection>,
    retry_after: Option<Duration>,
    http_status: u16,
    is_unsent: bool,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl RpcError {
    /// Makes an error. The caller sees the message, so it must not contain internals.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            code,
            message: message.into(),
            rejection: None,
            retry_after: None,
            http_status: code.http_status(),
            is_unsent: false,
            source: None,
        }))
    }

    /// Makes an [internal](ErrorCode::Internal) error that tells the caller nothing but that.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "internal error")
    }

    /// Adds the time after which a retry may succeed.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Sets the HTTP status of the response, where it says more than that of the code: 413 instead of 400, for example.
    ///
    /// A status outside of 400 to 599 has no effect.
    #[must_use]
    pub fn with_http_status(mut self, status: u16) -> Self {
        if let 400..=599 = status {
            self.0.http_status = status;
        }
        self
    }

    /// Adds the cause, which logs show and no caller sees.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    /// Marks an error of a request that certainly never reached the upstream, so that any request may be sent again.
    ///
    /// Clients mark their errors. An endpoint that has changed something before it called a client must return another error:
    /// a retry around that endpoint would otherwise repeat the change.
    #[must_use]
    pub fn unsent(mut self) -> Self {
        self.0.is_unsent = true;
        self
    }
}

impl IntoRpcError for RpcError {
    fn code(&self) -> ErrorCode {
        self.0.code
    }

    fn message(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0.message)
    }

    fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    fn http_status(&self) -> u16 {
        self.0.http_status
    }

    fn is_unsent(&self) -> bool {
        self.0.is_unsent
    }

    fn as_rpc_error(&self) -> Option<&RpcError> {
        Some(self)
    }

    fn into_rpc_error(self) -> Self {
        self
    }
}

impl From<Rejection> for RpcError {
    fn from(rejection: Rejection) -> Self {
        let reason = rejection.reason();
        let mut error = Self::new(reason.into(), reason.message());
        error.0.retry_after = rejection.retry_after();
        error.0.rejection = Some(rejection);
        error
    }
}

impl CarriesRejection for RpcError {
    fn from_rejection(rejection: Rejection) -> Self {
        rejection.into()
    }

    fn rejection(&self) -> Option<&Rejection> {
        self.0.rejection.as_ref()
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)
    }
}

impl fmt::Debug for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcError")
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("retry_after", &self.0.retry_after)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl Error for RpcError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match (&self.0.rejection, &self.0.source) {
            (Some(rejection), _) => Some(rejection),
            (None, Some(source)) => Some(source.as_ref()),
            (None, None) => None,
        }
    }
}

/// A rejection of a layer, for a service whose only errors are rejections.
impl IntoRpcError for Rejection {
    fn code(&self) -> ErrorCode {
        self.reason().into()
    }

    fn message(&self) -> Cow<'_, str> {
        self.reason().message().into()
    }

    fn as_rpc_error(&self) -> Option<&RpcError> {
        None
    }
}

/// The code and the message are those of the [`RpcError`] or the [`Rejection`] among its causes. Any other error is
/// [internal](ErrorCode::Internal), and its text does not leave the process.
impl IntoRpcError for BoxError {
    fn code(&self) -> ErrorCode {
        match (self.rejection(), self.as_rpc_error()) {
            (Some(rejection), _) => rejection.code(),
            (None, Some(error)) => error.code(),
            (None, None) => ErrorCode::Internal,
        }
    }

    fn message(&self) -> Cow<'_, str> {
        match (self.rejection(), self.as_rpc_error()) {
            (Some(rejection), _) => rejection.message(),
            (None, Some(error)) => error.message(),
            (None, None) => "internal error".into(),
        }
    }

    fn as_rpc_error(&self) -> Option<&RpcError> {
        causes(self.as_ref()).find_map(|cause| cause.downcast_ref())
    }

    fn into_rpc_error(self) -> RpcError {
        match (self.rejection(), self.as_rpc_error()) {
            (Some(rejection), _) => rejection.clone().into(),
            (None, Some(error)) => error.clone(),
            (None, None) => RpcError::internal().with_source(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use towerkit_core::RejectionReason;

    use super::*;

    #[test]
    fn a_boxed_error_says_nothing_of_the_inside() {
        let secret = BoxError::from("password=hunter2");
        assert_eq!(secret.code(), ErrorCode::Internal);
        let error = secret.into_rpc_error();
        assert_eq!(error.to_string(), "internal: internal error");
        assert_eq!(error.source().unwrap().to_string(), "password=hunter2");
    }

    #[test]
    fn an_error_keeps_its_properties_in_a_box() {
        let wait = Duration::from_secs(3);
        let error = RpcError::new(ErrorCode::NotFound, "no such profile")
            .with_retry_after(wait)
            .with_http_status(410)
            .with_http_status(200)
            .unsent();
        let boxed = BoxError::from(error);
        assert_eq!(boxed.code(), ErrorCode::NotFound);
        assert_eq!(boxed.message(), "no such profile");
        assert_eq!(boxed.retry_after(), Some(wait));
        assert_eq!(boxed.http_status(), 410);
        assert!(boxed.is_unsent());
        assert_eq!(boxed.into_rpc_error().retry_after(), Some(wait));
    }

    /// The variant of an error type for the errors of clients, as in the documentation of the trait.
    #[test]
    fn an_error_keeps_its_properties_in_an_error_type_of_a_service() {
        #[derive(Debug)]
        struct StoreError(RpcError);

        impl CarriesRejection for StoreError {
            fn from_rejection(rejection: Rejection) -> Self {
                Self(rejection.into())
            }

            fn rejection(&self) -> Option<&Rejection> {
                self.0.rejection()
            }
        }

        impl IntoRpcError for StoreError {
            fn code(&self) -> ErrorCode {
                self.0.code()
            }

            fn message(&self) -> Cow<'_, str> {
                self.0.message()
            }

            fn as_rpc_error(&self) -> Option<&RpcError> {
                Some(&self.0)
            }
        }

        let wait = Duration::from_secs(3);
        let error = RpcError::new(ErrorCode::Unavailable, "restarting")
            .with_retry_after(wait)
            .with_http_status(500)
            .with_source("refused")
            .unsent();
        let error = StoreError(error);
        assert_eq!(error.retry_after(), Some(wait));
        assert_eq!(error.http_status(), 500);
        assert!(error.is_unsent());
        let error = error.into_rpc_error();
        assert_eq!(
            (error.retry_after(), error.http_status()),
            (Some(wait), 500)
        );
        assert!(error.is_unsent() && error.source().is_some());
    }

    #[test]
    fn every_rejection_keeps_its_reason_and_its_time_in_every_error_type() {
        let wait = Duration::from_secs(7);
        for reason in RejectionReason::ALL {
            let rejection = Rejection::new(reason, "test").with_retry_after(wait);
            let check = |error: &dyn Fn() -> RpcError| {
                assert_eq!(error().code(), ErrorCode::from(reason));
                assert_eq!(error().message(), reason.message());
                assert_eq!(error().retry_after(), Some(wait));
                assert_eq!(error().rejection().unwrap().reason(), reason);
            };
            check(&|| RpcError::from_rejection(rejection.clone()));
            check(&|| rejection.clone().into_rpc_error());
            check(&|| BoxError::from_rejection(rejection.clone()).into_rpc_error());
        }
    }

    #[test]
    fn a_result_with_an_error_is_as_small_as_a_pointer() {
        assert_eq!(size_of::<RpcError>(), size_of::<usize>());
    }
}
