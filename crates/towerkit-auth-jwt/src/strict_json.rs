use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The levels of objects and arrays that a text may have.
const MAX_DEPTH: usize = 16;

/// Reads a JSON object in which no object has two members of one name (RFC 7515, section 4, and RFC 7519, section 4).
///
/// Readers differ in which of two members they take, so that a text with both means one thing here and another thing there.
pub(crate) fn object(json: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Shape { depth: MAX_DEPTH }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    serde_json::from_slice(json)
}

/// Checks names and depth, and keeps no values: serde_json reads those, because it alone knows all its forms of numbers.
#[derive(Clone, Copy)]
struct Shape {
    /// The levels that are left.
    depth: usize,
}

impl Shape {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        depth
            .map(|depth| Self { depth })
            .ok_or_else(|| E::custom("too many levels"))
    }
}

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while elements.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut names = Vec::new();
        while let Some(name) = members.next_key_seed(Name)? {
            names.push(name);
            members.next_value_seed(inner)?;
        }
        names.sort_unstable();
        match names.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(A::Error::custom("two members of one name")),
            false => Ok(()),
        }
    }
}

/// Reads the name of a member, and copies it only if it has escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_unique_in_its_object_also_if_it_is_escaped() {
        assert!(object(br#"{"exp":1,"a":{"exp":2},"b":[{"exp":3}]}"#).is_ok());
        for json in [
            &br#"{"exp":1,"exp":1}"#[..],
            br#"{"exp":1,"e\u0078p":2}"#,
            br#"{"a":[{"b":1,"b":2}]}"#,
        ] {
            assert!(object(json).is_err());
        }
    }

    #[test]
    fn only_one_object_of_few_levels_is_read() {
        for json in [
            "",
            "1",
            "[]",
            "null",
            "\"a\"",
            "{} {}",
            "{}x",
            "{\"a\":1e400}",
        ] {
            assert!(object(json.as_bytes()).is_err(), "{json}");
        }
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(object(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert!(object(nested(MAX_DEPTH).as_bytes()).is_err());
        assert!(object(nested(100_000).as_bytes()).is_err());
    }
}
