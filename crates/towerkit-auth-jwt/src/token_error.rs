use std::fmt;

/// The reason for which a token is refused.
///
/// It is for logs. A client learns only that its token is not valid ([RFC 6750, section 3.1]): a reason would tell an attacker how far
/// a forged token came.
///
/// [RFC 6750, section 3.1]: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is longer than 8 KiB.
    TooLong,
    /// The token is not three parts of base64url that hold JSON objects with unique names.
    Malformed,
    /// The algorithm of the header is unknown, not configured, or not that of the key.
    UnexpectedAlgorithm,
    /// The header has an extension that must be understood (`crit`, `b64`).
    UnsupportedExtension,
    /// The type of the header (`typ`) is not the expected one.
    UnexpectedType,
    /// There is no key for the token.
    UnknownKey,
    /// The keys could not be loaded yet.
    KeysUnavailable,
    /// The signature is not valid.
    BadSignature,
    /// A claim is missing, or has a type that it must not have.
    BadClaim,
    /// The token is no longer valid (`exp`).
    Expired,
    /// The token is not valid yet (`nbf`).
    NotYetValid,
    /// The token is by another issuer (`iss`).
    WrongIssuer,
    /// The token is for another audience (`aud`).
    WrongAudience,
}

impl TokenError {
    /// Returns the reason in `snake_case`, for events and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::UnexpectedAlgorithm => "unexpected_algorithm",
            Self::UnsupportedExtension => "unsupported_extension",
            Self::UnexpectedType => "unexpected_type",
            Self::UnknownKey => "unknown_key",
            Self::KeysUnavailable => "keys_unavailable",
            Self::BadSignature => "bad_signature",
            Self::BadClaim => "bad_claim",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the token is too long",
            Self::Malformed => "the token is malformed",
            Self::UnexpectedAlgorithm => "the token has an unexpected algorithm",
            Self::UnsupportedExtension => "the token has an unsupported extension",
            Self::UnexpectedType => "the token has an unexpected type",
            Self::UnknownKey => "the key of the token is unknown",
            Self::KeysUnavailable => "the keys are not available",
            Self::BadSignature => "the signature of the token is not valid",
            Self::BadClaim => "a claim of the token is missing or malformed",
            Self::Expired => "the token is expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::WrongIssuer => "the token is by another issuer",
            Self::WrongAudience => "the token is for another audience",
        })
    }
}

impl std::error::Error for TokenError {}
