//! AB-04: credentials are read by their grammar, and a file of passwords by its lines.

use std::sync::LazyLock;

use http::{HeaderValue, Request};
use tokio::runtime::Runtime;
use towerkit_auth::{
    Admission, AuthError, Authenticator, BasicAuth, BearerAuth, PasswordFile, Principal, Proof,
};
use towerkit_core::Call;
use towerkit_http::Http;

/// Passwords are verified on its threads.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("threads can start"));

/// Reads the bytes as the value of `Authorization`.
///
/// # Panics
///
/// If they are not read by the grammar of RFC 7617.
pub fn basic_header(data: &[u8]) {
    static BASIC: LazyLock<BasicAuth> = LazyLock::new(|| {
        let accept = |user: &str, password: &str| {
            Ok(Principal::new(user, Proof::Password).with_claims(password.to_owned()))
        };
        BasicAuth::new("fuzz", accept).expect("the realm is valid")
    });
    let expected = credentials(data, "basic").map(|encoded| {
        let decoded = decode(encoded).filter(|decoded| decoded.len() <= 768);
        let text = decoded.and_then(|decoded| String::from_utf8(decoded).ok())?;
        let text = Some(text).filter(|text| !text.contains(char::is_control))?;
        let (user, password) = text.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    });
    let Some(result) = authenticate(&*BASIC, data) else {
        return;
    };
    let seen = verdict(result).map(|principal| {
        let principal = principal?;
        let password: &String = principal.claims().expect("set by the verifier");
        Some((principal.subject().to_owned(), password.clone()))
    });
    assert_eq!(seen, expected, "{}", data.escape_ascii());
}

/// Reads the bytes as the value of `Authorization`.
///
/// # Panics
///
/// If they are not read by the grammar of RFC 6750.
pub fn bearer_header(data: &[u8]) {
    static BEARER: LazyLock<BearerAuth> = LazyLock::new(|| {
        let accept = |token: &str| Ok(Principal::new(token, Proof::BearerToken));
        BearerAuth::new("fuzz", accept).expect("the realm is valid")
    });
    let expected = credentials(data, "bearer").map(|token| {
        let text = String::from_utf8(token.to_vec()).ok()?;
        let token = text.trim_end_matches('=');
        let is_valid = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        (!token.is_empty() && token.chars().all(is_valid)).then_some(text.clone())
    });
    let Some(result) = authenticate(&*BEARER, data) else {
        return;
    };
    let seen = verdict(result).map(|principal| Some(principal?.subject().to_owned()));
    assert_eq!(seen, expected, "{}", data.escape_ascii());
}

/// Reads the bytes as a file of passwords.
///
/// # Panics
///
/// If an error shows more than the number of a line, or if the end of lines matters.
pub fn password_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let parsed = PasswordFile::parse(text);
    let value = parsed.as_ref().err().map(|error| error.value().to_owned());
    if let Some(value) = &value {
        let number = value
            .strip_prefix("\"line ")
            .and_then(|rest| rest.strip_suffix('"'));
        let number: usize = number
            .and_then(|digits| digits.parse().ok())
            .expect("a line");
        assert!((1..=text.lines().count()).contains(&number), "{value}");
    }
    let with_returns = text.replace("\r\n", "\n").replace('\n', "\r\n");
    let other = PasswordFile::parse(&with_returns);
    let other = other.as_ref().err().map(|error| error.value().to_owned());
    assert_eq!(value, other);
    if let Ok(file) = parsed {
        let shown = format!("{file:?}");
        assert!(shown.len() < 60, "{shown}");
    }
}

/// Authenticates a call with this header; `None` if it is not the value of one.
fn authenticate(scheme: &dyn Authenticator, value: &[u8]) -> Option<Result<Principal, AuthError>> {
    let mut request = Request::new(());
    let value = HeaderValue::from_bytes(value).ok()?;
    request.headers_mut().insert("authorization", value);
    let protocol = Http::new();
    let call = Call::new(&mut request, &protocol);
    let _entered = RUNTIME.enter();
    Some(match scheme.authenticate(call.view()) {
        Ok(Admission::Now(principal)) => Ok(principal),
        Ok(Admission::Later(later)) => RUNTIME.block_on(later),
        Err(error) => Err(error),
    })
}

/// Returns `None` if there are no credentials of the scheme, and `Some(None)` if they are invalid.
fn verdict(result: Result<Principal, AuthError>) -> Option<Option<Principal>> {
    match result {
        Ok(principal) => Some(Some(principal)),
        Err(error) if error.is_missing() => None,
        Err(error) => {
            assert!(error.is_invalid(), "{error}");
            Some(None)
        }
    }
}

/// Returns the part behind the scheme and spaces.
fn credentials<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    // The value of a header has no space around it.
    let end = value
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(value.len());
    let (own, rest) = value.split_at(end);
    if !own.eq_ignore_ascii_case(scheme.as_bytes()) {
        return None;
    }
    let start = rest.iter().position(|byte| *byte != b' ');
    Some(&rest[start.unwrap_or(rest.len())..])
}

/// Decodes base64 (RFC 4648, section 4) with padding and without bits that are not used.
fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if !encoded.len().is_multiple_of(4) {
        return None;
    }
    let padding = encoded
        .iter()
        .rev()
        .take_while(|byte| **byte == b'=')
        .count();
    let digits = &encoded[..encoded.len() - padding];
    let (mut bits, mut count, mut decoded) = (0_u32, 0, Vec::new());
    for digit in digits {
        let value = ALPHABET.iter().position(|byte| byte == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push(u8::try_from(bits >> count).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    (padding <= 2 && bits == 0 && count < 6).then_some(decoded)
}
