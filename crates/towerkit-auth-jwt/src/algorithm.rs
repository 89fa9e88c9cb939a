use std::fmt;

use ring::{hmac, signature};

/// An algorithm that signs tokens ([RFC 7518, section 3.1], [RFC 8037]).
///
/// Each [`Key`](crate::Key) has one. There is no `none`.
///
/// [RFC 7518, section 3.1]: https://www.rfc-editor.org/rfc/rfc7518#section-3.1
/// [RFC 8037]: https://www.rfc-editor.org/rfc/rfc8037
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on the curve P-256 with SHA-256.
    Es256,
    /// ECDSA on the curve P-384 with SHA-384.
    Es384,
    /// EdDSA on the curve Ed25519.
    EdDsa,
}

/// The primitive of an algorithm, with its parameters.
#[derive(Clone, Copy)]
pub(crate) enum Primitive {
    Hmac(hmac::Algorithm),
    Rsa {
        verify: &'static signature::RsaParameters,
        sign: &'static dyn signature::RsaEncoding,
    },
    Ecdsa {
        verify: &'static signature::EcdsaVerificationAlgorithm,
        sign: &'static signature::EcdsaSigningAlgorithm,
    },
    Ed25519,
}

impl Algorithm {
    const ALL: [Self; 12] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// Returns the name of the algorithm in the header `alg`, such as `ES256`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Finds the algorithm of a name, which is compared exactly.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|algorithm| algorithm.as_str() == name)
            // RFC 9864 gives EdDSA on this curve a name of its own.
            .or_else(|| (name == "Ed25519").then_some(Self::EdDsa))
    }

    pub(crate) fn primitive(self) -> Primitive {
        match self {
            Self::Hs256 => Primitive::Hmac(hmac::HMAC_SHA256),
            Self::Hs384 => Primitive::Hmac(hmac::HMAC_SHA384),
            Self::Hs512 => Primitive::Hmac(hmac::HMAC_SHA512),
            Self::Rs256 => Primitive::Rsa {
                verify: &signature::RSA_PKCS1_2048_8192_SHA256,
                sign: &signature::RSA_PKCS1_SHA256,
            },
            Self::Rs384 => Primitive::Rsa {
                verify: &signature::RSA_PKCS1_2048_8192_SHA384,
                sign: &signature::RSA_PKCS1_SHA384,
            },
            Self::Rs512 => Primitive::Rsa {
                verify: &signature::RSA_PKCS1_2048_8192_SHA512,
                sign: &signature::RSA_PKCS1_SHA512,
            },
            Self::Ps256 => Primitive::Rsa {
                verify: &signature::RSA_PSS_2048_8192_SHA256,
                sign: &signature::RSA_PSS_SHA256,
            },
            Self::Ps384 => Primitive::Rsa {
                verify: &signature::RSA_PSS_2048_8192_SHA384,
                sign: &signature::RSA_PSS_SHA384,
            },
            Self::Ps512 => Primitive::Rsa {
                verify: &signature::RSA_PSS_2048_8192_SHA512,
                sign: &signature::RSA_PSS_SHA512,
            },
            Self::Es256 => Primitive::Ecdsa {
                verify: &signature::ECDSA_P256_SHA256_FIXED,
                sign: &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            },
            Self::Es384 => Primitive::Ecdsa {
                verify: &signature::ECDSA_P384_SHA384_FIXED,
                sign: &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            },
            Self::EdDsa => Primitive::Ed25519,
        }
    }

    /// Returns true if one secret both signs and verifies.
    pub(crate) const fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }

    pub(crate) fn is_rsa(self) -> bool {
        matches!(self.primitive(), Primitive::Rsa { .. })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
