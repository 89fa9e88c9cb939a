//! The instances of Consul as JSON, in both directions.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use towerkit_discovery::{Address, Instance};

/// The keys of metadata that have a place of their own in an [`Instance`].
const ZONE: &str = "zone";
const VERSION: &str = "version";
/// The limits of Consul for metadata.
const MAX_META: usize = 64;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 512;

/// An answer of `/v1/health/service`, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: Node,
    service: Service,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(default)]
    address: String,
    port: u16,
    tags: Option<Vec<String>>,
    meta: Option<BTreeMap<String, String>>,
    weights: Option<Weights>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u32,
    /// The weight while a check warns, which our checks never do.
    #[serde(default)]
    warning: u32,
}

/// The body of `/v1/agent/service/register`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Registration<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    address: String,
    port: u16,
    tags: Vec<String>,
    meta: BTreeMap<&'a str, &'a str>,
    weights: Weights,
    check: Check,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "TTL")]
    ttl: String,
    status: &'static str,
    deregister_critical_service_after: String,
}

/// Reads the instances. One that cannot be used, such as one with a port of 70,000, is left out.
pub(crate) fn read_entries(entries: Vec<Value>) -> Vec<Instance> {
    let entries = entries.into_iter();
    let valid = entries.filter_map(|entry| Entry::deserialize(entry).ok());
    valid.filter_map(read_entry).collect()
}

fn read_entry(Entry { node, service }: Entry) -> Option<Instance> {
    // Consul takes a service without an address for one at the address of its node.
    let host = match &*service.address {
        "" => &node.address,
        host => host,
    };
    let mut instance = Instance::new(Address::new(host, service.port).ok()?);
    if let Some(weights) = service.weights {
        instance.weight = weights.passing;
    }
    let tags = service.tags.unwrap_or_default().into_iter();
    let mut tags: BTreeMap<_, _> = tags
        .map(|tag| match tag.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (tag, String::new()),
        })
        .collect();
    tags.extend(service.meta.unwrap_or_default());
    instance.zone = tags.remove(ZONE).map(Arc::from);
    instance.version = tags.remove(VERSION).map(Arc::from);
    instance.tags = Arc::new(tags);
    Some(instance)
}

impl<'a> Registration<'a> {
    pub(crate) fn new(
        name: &'a str,
        id: &'a str,
        instance: &'a Instance,
        ttl: Duration,
        deregister_after: Duration,
    ) -> Self {
        let words = [(ZONE, &instance.zone), (VERSION, &instance.version)];
        let words = words
            .into_iter()
            .filter_map(|(key, word)| Some((key, &**word.as_ref()?)));
        let mut meta: BTreeMap<&str, &str> = words.collect();
        let mut tags = Vec::new();
        for (key, value) in &*instance.tags {
            // Metadata has keys of a few characters only, and values that are not empty; a tag may have any.
            if value.is_empty() {
                tags.push(key.clone());
            } else if fits_in_meta(key, value)
                && meta.len() < MAX_META
                && !meta.contains_key(&**key)
            {
                meta.insert(key, value);
            } else {
                tags.push(format!("{key}={value}"));
            }
        }
        Self {
            id,
            name,
            address: host(&instance.address),
            port: instance.address.port(),
            tags,
            meta,
            weights: Weights {
                passing: instance.weight,
                warning: 1,
            },
            check: Check {
                ttl: format!("{}ms", ttl.as_millis()),
                status: "passing",
                deregister_critical_service_after: format!("{}s", deregister_after.as_secs()),
            },
        }
    }
}

/// Returns the host without brackets.
fn host(address: &Address) -> String {
    match address {
        Address::Socket(address) => address.ip().to_string(),
        Address::Name(name, _) => name.to_string(),
        // Any further kind is written as an authority.
        address => address.to_string(),
    }
}

fn fits_in_meta(key: &str, value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !key.is_empty()
        && key.len() <= MAX_KEY
        && key.bytes().all(allowed)
        // Consul keeps these for itself.
        && !key.starts_with("consul-")
        && value.len() <= MAX_VALUE
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(entry: Value) -> Option<Instance> {
        read_entries(vec![entry]).pop()
    }

    /// GK-CO-4
    #[test]
    fn the_address_of_the_service_comes_before_that_of_its_node() {
        let node = json!({"Address": "10.0.0.9"});
        for (service, expected) in [
            (
                json!({"Address": "10.0.0.10", "Port": 9000}),
                "10.0.0.10:9000",
            ),
            (json!({"Address": "", "Port": 9000}), "10.0.0.9:9000"),
            (
                json!({"Port": 9000, "Tags": null, "Meta": null}),
                "10.0.0.9:9000",
            ),
            (
                json!({"Address": "a.internal", "Port": 9000}),
                "a.internal:9000",
            ),
            (json!({"Address": "::1", "Port": 9000}), "[::1]:9000"),
        ] {
            let instance = read(json!({"Node": node, "Service": service})).unwrap();
            assert_eq!(instance.address.to_string(), expected);
        }
    }

    /// SD-12
    #[test]
    fn a_hostile_entry_is_left_out_and_the_others_are_kept() {
        let node = json!({"Address": "10.0.0.9"});
        let service = |address: &str, port: Value| json!({"Node": node, "Service": {"Address": address, "Port": port}});
        let instances = read_entries(vec![
            json!(null),
            json!(7),
            json!({}),
            service("a", json!(0)),
            service("a", json!(70_000)),
            service("a", json!(-1)),
            service("a", json!("80")),
            service("a\r\nhost: b", json!(80)),
            service("user@a", json!(80)),
            service("a b", json!(80)),
            service("good", json!(80)),
        ]);
        let addresses: Vec<_> = instances
            .iter()
            .map(|instance| instance.address.to_string())
            .collect();
        assert_eq!(addresses, ["good:80"]);
    }

    #[test]
    fn all_metadata_come_back() {
        let instance = Instance::new("10.0.0.7:80".parse().unwrap())
            .weight(7)
            .zone("eu-1a")
            .version("1.2")
            .tag("canary", "")
            .tag("team", "search")
            .tag("a.b/c", "d=e")
            .tag("consul-x", "y")
            .tag("long", "x".repeat(2000));
        let ttl = Duration::from_millis(1500);
        let sent = Registration::new("a", "a-1", &instance, ttl, Duration::from_secs(60));
        let sent = serde_json::to_value(sent).unwrap();
        assert_eq!(sent["Check"]["TTL"], "1500ms");
        assert_eq!(
            sent["Meta"],
            json!({"zone": "eu-1a", "version": "1.2", "team": "search"})
        );
        let entry = json!({"Node": {"Address": "10.0.0.1"}, "Service": sent});
        assert_eq!(read(entry), Some(instance));
    }

    #[test]
    fn a_tag_named_zone_does_not_replace_the_zone() {
        let instance = Instance::new("10.0.0.7:80".parse().unwrap())
            .zone("eu-1a")
            .tag("zone", "other");
        let sent = Registration::new(
            "a",
            "a-1",
            &instance,
            Duration::from_secs(15),
            Duration::from_secs(60),
        );
        let entry = json!({"Node": {"Address": "10.0.0.1"}, "Service": serde_json::to_value(sent).unwrap()});
        assert_eq!(read(entry).unwrap().zone.as_deref(), Some("eu-1a"));
    }
}
