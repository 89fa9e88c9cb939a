use towerkit_core::{CallView, ConfigError};

use crate::AuthError;

/// The limit of the header `Authorization`, in bytes.
const MAX_LENGTH: usize = 8 * 1024;

/// Returns the credentials of this scheme in the header `Authorization` (RFC 9110, section 11.4). The scheme matches in any case.
///
/// Two such headers are invalid for every scheme, so that a proxy and this layer cannot read different ones.
pub(crate) fn authorization<'a>(call: CallView<'a>, scheme: &str) -> Result<&'a [u8], AuthError> {
    let mut found = None;
    let mut count = 0;
    call.header_values("authorization", &mut |value| {
        found = Some(value);
        count += 1;
    });
    let value = found.ok_or_else(AuthError::missing)?;
    if count > 1 {
        return Err(AuthError::invalid("several authorization headers"));
    }
    parse(value, scheme)
}

/// Splits the value of `Authorization` into its scheme and the credentials.
pub(crate) fn parse<'a>(value: &'a [u8], scheme: &str) -> Result<&'a [u8], AuthError> {
    let (own, rest) = value.split_at(scheme.len().min(value.len()));
    if !own.eq_ignore_ascii_case(scheme.as_bytes()) {
        return Err(AuthError::missing());
    }
    match rest {
        [] => Err(AuthError::invalid("no credentials after the scheme")),
        [b' ', ..] if value.len() > MAX_LENGTH => {
            Err(AuthError::invalid("credentials above 8 KiB"))
        }
        [b' ', ..] => {
            let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
            Ok(&rest[spaces..])
        }
        _ => Err(AuthError::missing()),
    }
}

/// Returns random bytes from the operating system.
pub(crate) fn random_bytes() -> Result<[u8; 32], ConfigError> {
    let mut bytes = [0; 32];
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|error| ConfigError::new("system", error, "a source of random bytes"))?;
    Ok(bytes)
}
