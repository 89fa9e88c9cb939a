use rustls_pki_types::{AlgorithmIdentifier, alg_id};

use crate::Algorithm;

/// The public key in a `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7).
pub(crate) enum PublicKey<'a> {
    /// Modulus and exponent, without leading zeros.
    Rsa { n: &'a [u8], e: &'a [u8] },
    /// A point on a curve, as bytes.
    Point(&'a [u8]),
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// Reads the key for `algorithm`; `None` if the key is of another kind, or malformed.
pub(crate) fn public_key(spki: &[u8], algorithm: Algorithm) -> Option<PublicKey<'_>> {
    let expected: &[AlgorithmIdentifier] = match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => return None,
        Algorithm::Es256 => &[alg_id::ECDSA_P256],
        Algorithm::Es384 => &[alg_id::ECDSA_P384],
        Algorithm::EdDsa => &[alg_id::ED25519],
        _ => &[alg_id::RSA_ENCRYPTION],
    };
    let (info, rest) = element(spki, SEQUENCE)?;
    let (identifier, info) = element(info, SEQUENCE)?;
    let (bits, info_rest) = element(info, BIT_STRING)?;
    if !rest.is_empty() || !info_rest.is_empty() || !expected.iter().any(|id| **id == *identifier) {
        return None;
    }
    // The first byte counts the unused bits of the last one.
    let key = bits.strip_prefix(&[0])?;
    if algorithm.is_rsa() {
        rsa_key(key)
    } else {
        Some(PublicKey::Point(key))
    }
}

/// Reads an `RSAPublicKey` (RFC 8017, appendix A.1.1).
fn rsa_key(der: &[u8]) -> Option<PublicKey<'_>> {
    let (key, rest) = element(der, SEQUENCE)?;
    let (n, key) = element(key, INTEGER)?;
    let (e, key) = element(key, INTEGER)?;
    (rest.is_empty() && key.is_empty()).then(|| PublicKey::Rsa {
        n: without_sign(n),
        e: without_sign(e),
    })
}

/// Removes the zero byte that keeps a DER integer from being negative.
fn without_sign(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

/// Splits off one element of a tag: its contents, and the rest.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (bytes, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*bytes)), rest)
        }
        _ => return None,
    };
    (first == tag && length <= rest.len()).then(|| rest.split_at(length))
}
