use serde_json::{Map, Value};

use crate::{Algorithm, TokenError, base64_url, strict_json};

/// The longest token, in bytes.
pub(crate) const MAX_LENGTH: usize = 8 * 1024;

/// A token in the compact form (RFC 7515, section 7.1) that is well-formed, and not verified.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    pub(crate) header: Header,
    pub(crate) claims: Map<String, Value>,
    pub(crate) signed: &'a str,
    pub(crate) signature: Vec<u8>,
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
    let (header, payload, signed, signature) = decode(token)?;
    Ok(Unverified {
        header,
        claims: strict_json::object(&payload).map_err(|_| TokenError::Malformed)?,
        signed,
        signature,
    })
}

/// Splits and decodes a token: header, payload, signed text, signature.
pub(crate) fn decode(token: &str) -> Result<(Header, Vec<u8>, &str, Vec<u8>), TokenError> {
    if token.len() > MAX_LENGTH {
        return Err(TokenError::TooLong);
    }
    let malformed = TokenError::Malformed;
    let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(malformed)?;
    // A dot is no character of base64url, so that a fourth part does not decode.
    let decode = |part| base64_url::decode(part).ok_or(malformed);
    let header = Header::parse(&decode(header)?)?;
    Ok((header, decode(payload)?, signed, decode(signature)?))
}

impl Unverified<'_> {
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
