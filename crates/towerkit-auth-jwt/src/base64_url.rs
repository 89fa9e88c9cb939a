use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Decodes base64url without padding (RFC 7515, section 2); refuses padding, other characters, and bits after the last byte.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Encodes base64url without padding.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
