use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use towerkit_discovery::{Address, Instance};

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

/// Writes the value of an instance.
pub(crate) fn write(instance: &Instance) -> Vec<u8> {
    let text = |word: &Option<Arc<str>>| word.as_deref().map(str::to_owned);
    let value = Value {
        address: instance.address.to_string(),
        weight: instance.weight,
        zone: text(&instance.zone),
        version: text(&instance.version),
        tags: BTreeMap::clone(&instance.tags),
    };
    serde_json::to_vec(&value).expect("strings and numbers are JSON")
}

/// Reads the value of a key; `None` if it is neither an object nor an address.
pub(crate) fn read(value: &[u8]) -> Option<Instance> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.starts_with('{') {
        return Some(Instance::new(bare_address(text)?));
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let mut instance = Instance::new(value.address.parse().ok()?).weight(value.weight);
    instance.zone = value.zone.map(Into::into);
    instance.version = value.version.map(Into::into);
    instance.tags = Arc::new(value.tags);
    Some(instance)
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
        let written = write(&instance());
        let expected = r#"{"address":"10.0.0.7:80","weight":3,"zone":"eu-1a","version":"1.2.3","tags":{"canary":"yes"}}"#;
        assert_eq!(String::from_utf8_lossy(&written), expected);
        assert_eq!(read(&written), Some(instance()));
    }

    /// go-kit GK-ZK-2
    #[test]
    fn a_value_may_be_an_address_alone() {
        for value in [
            "10.0.0.7:80",
            " 10.0.0.7:80\n",
            "http://10.0.0.7:80",
            "http://10.0.0.7:80/",
        ] {
            let instance = read(value.as_bytes()).unwrap();
            assert_eq!(
                instance,
                Instance::new("10.0.0.7:80".parse().unwrap()),
                "{value}"
            );
        }
        let minimal = read(br#"{"address": "a.internal:80", "future": [1]}"#).unwrap();
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
            assert_eq!(read(value), None, "{}", String::from_utf8_lossy(value));
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&value);
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
            prop_assert_eq!(read(&write(&instance)), Some(instance));
        }
    }
}
