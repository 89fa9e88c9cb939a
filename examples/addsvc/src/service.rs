use std::{borrow::Cow, error::Error, fmt};

use towerkit::{
    core::{CarriesRejection, ErrorCode, Rejection},
    endpoint::{IntoRpcError, RpcError},
};

/// The two operations: the business logic, which knows no tower and no wire.
///
/// [`Adder`] implements it, and so do the endpoints of a client.
pub trait AddService: Send + Sync + 'static {
    /// Sums two integers.
    ///
    /// # Errors
    ///
    /// Returns [`AddError::TwoZeroes`], and [`AddError::Overflow`] for a sum beyond 32 bits.
    fn sum(&self, a: i64, b: i64) -> impl Future<Output = Result<i64, AddError>> + Send;

    /// Concatenates two strings.
    ///
    /// # Errors
    ///
    /// Returns [`AddError::TooLong`] for a result of more than 10 bytes.
    fn concat(&self, a: String, b: String)
    -> impl Future<Output = Result<String, AddError>> + Send;
}

/// The errors of an [`AddService`].
#[derive(Debug, Clone)]
pub enum AddError {
    /// Both numbers are zero.
    TwoZeroes,
    /// The sum does not fit.
    Overflow,
    /// The result is too long.
    TooLong,
    /// A rejection by a layer, or an error of the transport.
    Rpc(RpcError),
}

impl AddError {
    const BUSINESS: [Self; 3] = [Self::TwoZeroes, Self::Overflow, Self::TooLong];

    /// Returns the business error with this message.
    pub(crate) fn business(message: &str) -> Option<Self> {
        let mut all = Self::BUSINESS.into_iter();
        all.find(|error| error.message() == message)
    }
}

impl IntoRpcError for AddError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::TwoZeroes | Self::Overflow | Self::TooLong => ErrorCode::InvalidArgument,
            Self::Rpc(error) => error.code(),
        }
    }

    fn message(&self) -> Cow<'_, str> {
        match self {
            Self::TwoZeroes => "can't sum two zeroes".into(),
            Self::Overflow => "integer overflow".into(),
            Self::TooLong => "result exceeds maximum size".into(),
            Self::Rpc(error) => error.message(),
        }
    }

    fn as_rpc_error(&self) -> Option<&RpcError> {
        match self {
            Self::Rpc(error) => Some(error),
            _ => None,
        }
    }
}

impl CarriesRejection for AddError {
    fn from_rejection(rejection: Rejection) -> Self {
        Self::Rpc(rejection.into())
    }

    fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rpc(error) => error.rejection(),
            _ => None,
        }
    }
}

/// Reads the error that a client got.
impl From<RpcError> for AddError {
    fn from(error: RpcError) -> Self {
        Self::business(&error.message()).unwrap_or(Self::Rpc(error))
    }
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl Error for AddError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Rpc(error) => error.source(),
            _ => None,
        }
    }
}

/// The service itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Adder;

const MAX_LENGTH: usize = 10;

impl AddService for Adder {
    async fn sum(&self, a: i64, b: i64) -> Result<i64, AddError> {
        if a == 0 && b == 0 {
            return Err(AddError::TwoZeroes);
        }
        let sum = a.checked_add(b).ok_or(AddError::Overflow)?;
        i32::try_from(sum).map_err(|_| AddError::Overflow)?;
        Ok(sum)
    }

    async fn concat(&self, a: String, b: String) -> Result<String, AddError> {
        if a.len() + b.len() > MAX_LENGTH {
            return Err(AddError::TooLong);
        }
        Ok(a + b.as_str())
    }
}
