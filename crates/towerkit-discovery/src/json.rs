use std::{collections::BTreeMap, sync::Arc};

use crate::{Address, Instance};
use serde::{Deserialize, Serialize};

/// The JSON object of an instance.
#[derive(Debug, Serialize, Deserialize)]
struct Value {
    address: String,
    #[serde(default = "default_weight")]
    weight: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

const fn default_weight() -> u32 {
    1
}

impl Instance {
    /// Returns the instance as a JSON object, as registries that store values have it.
    ///
    /// Its members are `address`, `weight`, and if the instance has them `zone`, `version` and `tags`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let text = |word: &Option<Arc<str>>| word.as_deref().map(str::to_owned);
        let value = Value {
            address: self.address.to_string(),
            weight: self.weight,
            zone: text(&self.zone),
            version: text(&self.version),
            tags: BTreeMap::clone(&self.tags),
        };
        serde_json::to_vec(&value).expect("strings and numbers are JSON")
    }

    /// Reads an instance from a JSON object, or from an address alone, with or without a scheme.
    ///
    /// Returns `None` if it is neither. Unknown members are ignored.
    ///
    /// ```
    /// use towerkit_discovery::Instance;
    ///
    /// let instance = Instance::from_json(br#"{"address":"10.0.0.7:80","weight":3}"#).unwrap();
    /// assert_eq!((instance.address.port(), instance.weight), (80, 3));
    /// assert_eq!(Instance::from_json(&instance.to_json()), Some(instance));
    /// assert!(Instance::from_json(b"http://10.0.0.7:80").is_some());
    /// assert!(Instance::from_json(b"10.0.0.7:70000").is_none());
    /// ```
    #[must_use]
    pub fn from_json(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.trim();
        if !text.starts_with('{') {
            return Some(Self::new(bare_address(text)?));
        }
        let value: Value = serde_json::from_str(text).ok()?;
        let mut instance = Self::new(value.address.parse().ok()?).weight(value.weight);
        instance.zone = value.zone.map(Into::into);
        instance.version = value.version.map(Into::into);
        instance.tags = Arc::new(value.tags);
        Some(instance)
    }
}

/// Reads an address that may have a scheme, as the examples of go-kit write it.
fn bare_address(text: &str) -> Option<Address> {
    let text = match text.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            rest.strip_suffix('/').unwrap_or(rest)
        }
        _ => text,
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instance() -> Instance {
        Instance::new("10.0.0.7:80".parse().unwrap())
            .weight(3)
            .zone("eu-1a")
            .version("1.2.3")
            .tag("canary", "yes")
    }

    #[test]
    fn a_value_holds_all_metadata() {
        let written = instance().to_json();
        let expected = r#"{"address":"10.0.0.7:80","weight":3,"zone":"eu-1a","version":"1.2.3","tags":{"canary":"yes"}}"#;
        assert_eq!(String::from_utf8_lossy(&written), expected);
        assert_eq!(Instance::from_json(&written), Some(instance()));
    }

    /// go-kit GK-E3-1, GK-ZK-2
    #[test]
    fn a_value_may_be_an_address_alone() {
        for value in [
            "10.0.0.7:80",
            " 10.0.0.7:80\n",
            "http://10.0.0.7:80",
            "http://10.0.0.7:80/",
        ] {
            let instance = Instance::from_json(value.as_bytes()).unwrap();
            assert_eq!(
                instance,
                Instance::new("10.0.0.7:80".parse().unwrap()),
                "{value}"
            );
        }
        let minimal =
            Instance::from_json(br#"{"address": "a.internal:80", "future": [1]}"#).unwrap();
        assert_eq!(minimal, Instance::new("a.internal:80".parse().unwrap()));
    }

    /// SD-12
    #[test]
    fn a_hostile_value_is_skipped() {
        let deep = format!("{{\"address\":{}", "[".repeat(10_000));
        for value in [
            b"".as_slice(),
            b"{}",
            b"[]",
            b"null",
            b"10.0.0.7",
            b"10.0.0.7:0",
            b"10.0.0.7:70000",
            b"10.0.0.7:-1",
            b"user@host:80",
            b"a b:80",
            b"a\r\nb:80",
            b"http://a:80/path",
            b"\xff\xfe:80",
            br#"{"address": "a:80", "weight": -1}"#,
            br#"{"address": "a:80", "weight": 4294967296}"#,
            br#"{"address": "a:80", "tags": {"a": {}}}"#,
            br#"{"address": "169.254.169.254"}"#,
            deep.as_bytes(),
        ] {
            assert_eq!(
                Instance::from_json(value),
                None,
                "{}",
                String::from_utf8_lossy(value)
            );
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Instance::from_json(&value);
        }

        #[test]
        fn what_is_written_is_read(
            weight in any::<u32>(),
            zone in prop::option::of(".*"),
            tags in prop::collection::btree_map(".*", ".*", 0..4),
        ) {
            let mut instance = instance().weight(weight);
            instance.zone = zone.map(Into::into);
            instance.tags = Arc::new(tags);
            prop_assert_eq!(Instance::from_json(&instance.to_json()), Some(instance));
        }
    }
}
