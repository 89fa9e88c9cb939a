//! The messages of JSON-RPC on the wire.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The value of the member `jsonrpc`.
const VERSION: &str = "2.0";

/// A call that is valid: a request, or a notification.
pub(crate) struct Call<'a> {
    pub(crate) method: Cow<'a, str>,
    /// An array or an object, or `null` if there are no parameters.
    pub(crate) params: &'a RawValue,
    /// The id as the caller wrote it; `None` for a notification.
    pub(crate) id: Option<&'a RawValue>,
}

/// A call that is not valid, with the id for the error: `null` if the call has no id, or an invalid one.
pub(crate) struct InvalidCall<'a> {
    pub(crate) id: &'a RawValue,
}

/// The members of a call. Other members are ignored, and a member that is there twice is an error.
#[derive(Deserialize)]
struct CallMembers<'a> {
    #[serde(borrow)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

impl<'a> Call<'a> {
    /// Reads a call, which may be any JSON.
    pub(crate) fn read(json: &'a RawValue) -> Result<Self, InvalidCall<'a>> {
        let no_id = InvalidCall { id: RawValue::NULL };
        let Some(members) = object::<CallMembers<'a>>(json) else {
            return Err(no_id);
        };
        if members.id.is_some_and(|id| !is_id(id)) {
            return Err(no_id);
        }
        let invalid = || InvalidCall {
            id: members.id.unwrap_or(RawValue::NULL),
        };
        if !is_version(members.jsonrpc) {
            return Err(invalid());
        }
        let params = members.params.unwrap_or(RawValue::NULL);
        if !may_be_params(params) {
            return Err(invalid());
        }
        let method = members.method.and_then(string).ok_or_else(invalid)?;
        Ok(Self {
            method,
            params,
            id: members.id,
        })
    }
}

/// Returns true for an array, an object and `null`, which some clients send if there are no parameters.
pub(crate) fn may_be_params(json: &RawValue) -> bool {
    matches!(json.get().as_bytes()[0], b'[' | b'{' | b'n')
}

/// Returns true for a string, a number and `null`.
fn is_id(json: &RawValue) -> bool {
    matches!(json.get().as_bytes()[0], b'"' | b'-' | b'0'..=b'9' | b'n')
}

pub(crate) fn is_version(json: Option<&RawValue>) -> bool {
    json.and_then(string).as_deref() == Some(VERSION)
}

fn string(json: &RawValue) -> Option<Cow<'_, str>> {
    /// Borrows a string without escapes, which a [`Cow`] by itself does not.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    let text: Text<'_> = serde_json::from_str(json.get()).ok()?;
    Some(text.0)
}

/// Reads the members of an object. A struct of serde is read from an array, too, which is no message of JSON-RPC.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a RawValue) -> Option<T> {
    let is_object = json.get().starts_with('{');
    is_object.then(|| serde_json::from_str(json.get()).ok())?
}

/// Reads a member that may be `null`, which differs from a member that is not there.
pub(crate) fn present<'de, D>(json: D) -> Result<Option<&'de RawValue>, D::Error>
where
    D: Deserializer<'de>,
{
    <&RawValue>::deserialize(json).map(Some)
}

/// Reads the body of a request, and returns `None` if it is not JSON.
///
/// Half of a surrogate pair in a string is no text ([RFC 8259, section 8.2]). Where it is found depends on the types that strings are
/// decoded to, so it is searched here, before any call of a batch is made.
///
/// [RFC 8259, section 8.2]: https://www.rfc-editor.org/rfc/rfc8259#section-8.2
pub(crate) fn parse(body: &[u8]) -> Option<&RawValue> {
    let json: &RawValue = serde_json::from_slice(body).ok()?;
    (!has_lone_surrogate(json.get())).then_some(json)
}

/// Searches the escapes of a JSON text for one that is half of a surrogate pair.
fn has_lone_surrogate(json: &str) -> bool {
    let mut rest = json;
    // Outside of strings, JSON has no backslash.
    while let Some((_, escape)) = rest.split_once('\\') {
        rest = match code_unit(escape) {
            Some(0xd800..=0xdbff) => {
                let second = escape[5..].strip_prefix('\\').and_then(code_unit);
                let Some(0xdc00..=0xdfff) = second else {
                    return true;
                };
                &escape[11..]
            }
            Some(0xdc00..=0xdfff) => return true,
            Some(_) => &escape[5..],
            None => &escape[1..],
        };
    }
    false
}

/// Reads the UTF-16 code unit of an escape such as `u00e9`.
fn code_unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix('u')?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// JR-09: serde_json finds the same strings invalid, once it decodes them.
        #[test]
        fn half_of_a_surrogate_pair_is_found(
            text in r#"(\\\\|\\n|\\"|é|u|d800|\\u[dD][89abAB][0-9a-f]{2}|\\u[dD][c-fC-F][0-9a-f]{2}|\\u00e9){0,8}"#,
        ) {
            let json = format!("\"{text}\"");
            let is_text = serde_json::from_str::<String>(&json).is_ok();
            prop_assert_eq!(parse(json.as_bytes()).is_some(), is_text, "{}", json);
        }
    }
}
