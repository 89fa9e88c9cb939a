use serde_json::{Map, Value};

use crate::{Algorithm, TokenError, base64_url, strict_json};

/// The longest token, in bytes.
pub(crate) const MAX_LENGTH: usize = 8 * 1024;

/// A token in the compact form (RFC 7515, section 7.1), decoded, and not verified.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
    pub(crate) signed: &'a str,
    pub(crate) signature: Vec<u8>,
}

/// A well-formed token, which is not verified.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    pub(crate) parts: Parts<'a>,
    pub(crate) claims: Map<String, Value>,
}

/// The parameters of a header that a verifier reads.
///
/// It never follows `jku` and `x5u`, and takes no key from `jwk` and `x5c`: a token cannot bring its own key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<Box<str>>,
    pub(crate) kind: Option<Box<str>>,
}

/// Checks the size and the form of a token, before any cryptography.
pub(crate) fn parse(token: &str) -> Result<Unverified<'_>, TokenError> {
    let parts = Parts::decode(token)?;
    let claims = strict_json::object(&parts.payload).map_err(|_| TokenError::Malformed)?;
    Ok(Unverified { parts, claims })
}

impl<'a> Parts<'a> {
    /// Splits and decodes a token.
    pub(crate) fn decode(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_LENGTH {
            return Err(TokenError::TooLong);
        }
        let malformed = TokenError::Malformed;
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(malformed)?;
        // A dot is no character of base64url, so that a fourth part does not decode.
        let decode = |part| base64_url::decode(part).ok_or(malformed);
        Ok(Self {
            header: Header::parse(&decode(header)?)?,
            payload: decode(payload)?,
            signed,
            signature: decode(signature)?,
        })
    }

    pub(crate) fn key_id(&self) -> Option<&str> {
        self.header.key_id.as_deref()
    }
}

impl Header {
    fn parse(json: &[u8]) -> Result<Self, TokenError> {
        let mut header = strict_json::object(json).map_err(|_| TokenError::Malformed)?;
        // No extension is supported. `b64` may say what is the rule anyway (RFC 7797, section 3).
        if header.contains_key("crit") || header.get("b64").is_some_and(|b64| *b64 != true) {
            return Err(TokenError::UnsupportedExtension);
        }
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.and_then(Algorithm::from_name);
        let mut text = |member| match header.remove(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.into_boxed_str())),
            Some(_) => Err(TokenError::Malformed),
        };
        Ok(Self {
            key_id: text("kid")?,
            kind: text("typ")?,
            algorithm: algorithm.ok_or(TokenError::UnexpectedAlgorithm)?,
        })
    }
}
