//! Reads logfmt as go-logfmt's decoder does, and JSON by serde.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use towerkit_log::Format;

/// Reads a record of either format as pairs of text, in order.
pub(crate) fn pairs(format: Format, line: &str) -> Vec<(String, String)> {
    if format == Format::Logfmt {
        return logfmt(line).unwrap();
    }
    let Pairs(fields) = serde_json::from_str(line).unwrap();
    let text = |value: Value| value.as_str().map_or(value.to_string(), str::to_owned);
    fields
        .into_iter()
        .map(|(name, value)| (name, text(value)))
        .collect()
}

/// Returns the fields of a JSON object, whose names are unique.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut fields: Vec<(String, Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    assert!(fields.iter().all(|field| field.0 != name), "{name} twice");
                    fields.push((name, value));
                }
                Ok(Pairs(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Reads one record; an error where go-logfmt has one.
fn logfmt(line: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches(|c| c <= ' ');
        if rest.is_empty() {
            return Ok(pairs);
        }
        let end = rest
            .find(|c| c <= ' ' || c == '=' || c == '"')
            .unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        if key.is_empty() || key.contains(char::REPLACEMENT_CHARACTER) || after.starts_with('"') {
            return Err(format!("not a key: {rest}"));
        }
        let value;
        (value, rest) = match after.strip_prefix('=') {
            Some(after) => read_value(after)?,
            None => (String::new(), after),
        };
        pairs.push((key.to_owned(), value));
    }
}

/// Returns the value at the start of `text`, and the rest.
fn read_value(text: &str) -> Result<(String, &str), String> {
    if let Some(quoted) = text.strip_prefix('"') {
        return unquote(quoted);
    }
    let end = text.find(|c| c <= ' ').unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    if value.contains(['=', '"']) {
        return Err(format!("not a value: {value}"));
    }
    Ok((value.to_owned(), rest))
}

fn unquote(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok((value, chars.as_str())),
            '\\' => value.push(escaped(&mut chars).ok_or("not an escape")?),
            c => value.push(c),
        }
    }
    Err("no closing quote".to_owned())
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Option<char> {
    Some(match chars.next()? {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => {
            let (code, rest) = chars.as_str().split_at_checked(4)?;
            *chars = rest.chars();
            char::from_u32(u32::from_str_radix(code, 16).ok()?)?
        }
        c @ ('"' | '\\' | '/' | '\'') => c,
        _ => return None,
    })
}
