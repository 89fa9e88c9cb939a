//! The JSON of Eureka, which its servers write by XStream: lists of one are objects, and numbers may be text.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use towerkit_discovery::{Address, Instance};

/// The keys of metadata that have a place of their own in an [`Instance`].
const ZONE: &str = "zone";
const VERSION: &str = "version";
const WEIGHT: &str = "weight";

/// An answer of `/apps` or `/apps/delta`.
#[derive(Deserialize)]
pub(crate) struct Response {
    applications: Applications,
}

#[derive(Deserialize)]
struct Applications {
    #[serde(rename = "apps__hashcode", default)]
    hash: Value,
    #[serde(default)]
    application: Value,
}

/// An instance as a server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) app: String,
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) change: Change,
    vips: String,
    secure_vips: String,
    /// Those of the port and of the secure port, if they are enabled and valid.
    plain: Option<Instance>,
    secure: Option<Instance>,
}

/// A change in a delta. All instances of a full list are `Put`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Put,
    Deleted,
}

/// The property by which a service finds its instances.
#[derive(Debug, Clone)]
pub(crate) enum Selector {
    /// The name of the application, in upper case.
    App(Arc<str>),
    /// A virtual address.
    Vip(Arc<str>),
}

impl Response {
    /// Returns the hash of all instances, and those that are listed. One without an id is left out.
    pub(crate) fn read(self) -> (String, Vec<Listed>) {
        let hash = text(&self.applications.hash).unwrap_or_default();
        let applications = list(self.applications.application).into_iter();
        let instances = applications.flat_map(|mut application| {
            let name = application.get("name").and_then(text);
            let app = name.unwrap_or_default().into_owned();
            let instances = application
                .get_mut("instance")
                .map_or(Value::Null, Value::take);
            let instances = list(instances).into_iter();
            instances.filter_map(move |instance| read_instance(&app, &instance))
        });
        (hash.into_owned(), instances.collect())
    }
}

impl Listed {
    /// Returns the instance if calls may go to it, and if it is of the service.
    pub(crate) fn select(&self, selector: &Selector, is_secure: bool) -> Option<&Instance> {
        let is_vip = |vip: &str, vips: &str| {
            vips.split(',')
                .any(|known| known.trim().eq_ignore_ascii_case(vip))
        };
        let is_selected = match selector {
            Selector::App(app) => self.app.eq_ignore_ascii_case(app),
            Selector::Vip(vip) if is_secure => is_vip(vip, &self.secure_vips),
            Selector::Vip(vip) => is_vip(vip, &self.vips),
        };
        let instance = if is_secure { &self.secure } else { &self.plain };
        instance
            .as_ref()
            .filter(|_| is_selected && self.status == "UP")
    }
}

/// Computes the hash of the servers: the number of instances of each status, by status.
pub(crate) fn hash<'a>(instances: impl Iterator<Item = &'a Listed>) -> String {
    let mut counts = BTreeMap::new();
    for instance in instances {
        *counts.entry(&*instance.status).or_insert(0_u32) += 1;
    }
    let parts = counts
        .into_iter()
        .map(|(status, count)| format!("{status}_{count}_"));
    parts.collect()
}

fn read_instance(app: &str, value: &Value) -> Option<Listed> {
    let field = |name: &str| value.get(name).and_then(text).unwrap_or_default();
    let host_name = field("hostName");
    // Before 1.4 the name of the host was the id.
    let id = match field("instanceId") {
        id if id.is_empty() => host_name.clone(),
        id => id,
    };
    if id.is_empty() {
        return None;
    }
    let host = match field("ipAddr") {
        ip if ip.is_empty() => host_name,
        ip => ip,
    };
    let instance = |port: &str| {
        let port = read_port(value.get(port)?)?;
        Some(with_metadata(Address::new(&host, port).ok()?, value))
    };
    let is_deleted = field("actionType") == "DELETED";
    Some(Listed {
        app: app.to_owned(),
        status: field("status").into_owned(),
        change: if is_deleted {
            Change::Deleted
        } else {
            Change::Put
        },
        vips: field("vipAddress").into_owned(),
        secure_vips: field("secureVipAddress").into_owned(),
        plain: instance("port"),
        secure: instance("securePort"),
        id: id.into_owned(),
    })
}

/// Reads `{"$": 8080, "@enabled": "true"}`; `None` if it is not enabled.
fn read_port(port: &Value) -> Option<u16> {
    if port
        .get("@enabled")
        .and_then(text)
        .is_some_and(|enabled| enabled != "true")
    {
        return None;
    }
    text(port.get("$").unwrap_or(port))?.parse().ok()
}

fn with_metadata(address: Address, value: &Value) -> Instance {
    let mut instance = Instance::new(address);
    let mut tags: BTreeMap<String, String> = value
        .get("metadata")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        // `@class` is of XStream.
        .filter(|(key, _)| !key.starts_with('@'))
        .filter_map(|(key, value)| Some((key.clone(), text(value)?.into_owned())))
        .collect();
    let amazon_zone = value
        .pointer("/dataCenterInfo/metadata/availability-zone")
        .and_then(text)
        .map(Cow::into_owned);
    instance.zone = tags.remove(ZONE).or(amazon_zone).map(Arc::from);
    instance.version = tags.remove(VERSION).map(Arc::from);
    if let Some(weight) = tags.get(WEIGHT).and_then(|weight| weight.parse().ok()) {
        instance.weight = weight;
        tags.remove(WEIGHT);
    }
    instance.tags = Arc::new(tags);
    instance
}

/// Returns the host without brackets.
pub(crate) fn host(address: &Address) -> String {
    match address {
        Address::Socket(address) => address.ip().to_string(),
        Address::Name(name, _) => name.to_string(),
        // Any further kind is written as an authority.
        address => address.to_string(),
    }
}

/// Returns a list, which XStream writes as its only element if it has one.
fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        value @ Value::Object(_) => vec![value],
        _ => Vec::new(),
    }
}

/// Returns a value that may be a number or a truth value.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string().into()),
        _ => None,
    }
}

/// The body with which an instance registers.
#[derive(Debug, Serialize)]
pub(crate) struct Registration {
    instance: Value,
}

impl Registration {
    pub(crate) fn new(
        selector: &Selector,
        id: &str,
        instance: &Instance,
        is_secure: bool,
        ttl: Duration,
    ) -> Self {
        let host = host(&instance.address);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        let seconds = ttl.as_millis().div_ceil(1000);
        let port =
            |port: u16, is_enabled: bool| json!({"$": port, "@enabled": is_enabled.to_string()});
        let number = instance.address.port();
        let (plain, secure) = if is_secure {
            (80, number)
        } else {
            (number, 443)
        };
        let vip = selector.vip();
        Self {
            instance: json!({
                "instanceId": id,
                "app": selector.app(),
                "hostName": host,
                "ipAddr": host,
                "port": port(plain, !is_secure),
                "securePort": port(secure, is_secure),
                "vipAddress": vip,
                "secureVipAddress": vip,
                "status": "UP",
                "countryId": 1,
                "dataCenterInfo": {
                    "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
                    "name": "MyOwn",
                },
                "leaseInfo": {
                    "renewalIntervalInSecs": (seconds / 3).max(1),
                    "durationInSecs": seconds,
                },
                "metadata": metadata(instance),
                "lastUpdatedTimestamp": now.to_string(),
                "lastDirtyTimestamp": now.to_string(),
            }),
        }
    }
}

impl Selector {
    pub(crate) fn app(&self) -> String {
        let (Self::App(name) | Self::Vip(name)) = self;
        name.to_uppercase()
    }

    fn vip(&self) -> String {
        let (Self::App(name) | Self::Vip(name)) = self;
        name.to_lowercase()
    }
}

fn metadata(instance: &Instance) -> Value {
    let mut metadata = Map::new();
    for (key, value) in &*instance.tags {
        metadata.insert(key.clone(), value.clone().into());
    }
    for (key, word) in [(ZONE, &instance.zone), (VERSION, &instance.version)] {
        if let Some(word) = word {
            metadata.insert(key.into(), (&**word).into());
        }
    }
    metadata.insert(WEIGHT.into(), instance.weight.to_string().into());
    Value::Object(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> (String, Vec<Listed>) {
        serde_json::from_value::<Response>(value).unwrap().read()
    }

    fn instance(id: &str, status: &str) -> Value {
        json!({"instanceId": id, "ipAddr": "10.0.0.7", "port": {"$": 80, "@enabled": "true"}, "status": status})
    }

    #[test]
    fn lists_of_one_are_read_as_xstream_writes_them() {
        let many = json!({"applications": {"apps__hashcode": "UP_1_", "application": [
            {"name": "A", "instance": [instance("a", "UP")]}
        ]}});
        let one = json!({"applications": {"apps__hashcode": "UP_1_", "application":
            {"name": "A", "instance": instance("a", "UP")}
        }});
        let (hash, instances) = read(many);
        assert_eq!((&*hash, instances.len()), ("UP_1_", 1));
        assert_eq!(read(one).1, instances);
        for empty in [
            json!({"applications": {}}),
            json!({"applications": {"application": ""}}),
        ] {
            assert_eq!(read(empty).1, []);
        }
    }

    #[test]
    fn numbers_may_be_text_and_ports_may_be_disabled() {
        let app = Selector::App("a".into());
        for (port, expected) in [
            (json!({"$": 80, "@enabled": "true"}), Some(80)),
            (json!({"$": "80", "@enabled": true}), Some(80)),
            (json!(80), Some(80)),
            (json!({"$": 80, "@enabled": "false"}), None),
            (json!({"$": 0, "@enabled": "true"}), None),
            (json!({"$": 70_000, "@enabled": "true"}), None),
            (json!({"$": -1, "@enabled": "true"}), None),
            (json!(null), None),
        ] {
            let mut instance = instance("a", "UP");
            instance["port"] = port;
            instance["securePort"] = json!({"$": 443, "@enabled": "true"});
            let listed = read_instance("A", &instance).unwrap();
            let selected = |is_secure| Some(listed.select(&app, is_secure)?.address.port());
            assert_eq!((selected(false), selected(true)), (expected, Some(443)));
        }
    }

    /// SD-12
    #[test]
    fn a_hostile_entry_is_left_out_and_the_others_are_kept() {
        let mut crlf = instance("crlf", "UP");
        crlf["ipAddr"] = json!("a\r\nb: c");
        let (_, instances) = read(json!({"applications": {"application": [
            null, 7, {"name": 1}, {"instance": "x"},
            {"name": "A", "instance": [null, {}, {"instanceId": {}}, crlf, instance("good", "UP")]},
        ]}}));
        let app = Selector::App("A".into());
        let selected = instances
            .iter()
            .filter_map(|instance| instance.select(&app, false));
        assert_eq!(selected.count(), 1);
    }

    /// SD-19
    #[test]
    fn only_instances_that_are_up_are_selected() {
        for (status, is_selected) in [
            ("UP", true),
            ("DOWN", false),
            ("OUT_OF_SERVICE", false),
            ("STARTING", false),
            ("UNKNOWN", false),
            ("", false),
        ] {
            let listed = read_instance("A", &instance("a", status)).unwrap();
            let selected = listed.select(&Selector::App("A".into()), false);
            assert_eq!(selected.is_some(), is_selected, "{status}");
        }
    }

    #[test]
    fn the_hash_counts_each_status() {
        let listed = |status| read_instance("A", &instance("a", status)).unwrap();
        let all = [
            listed("UP"),
            listed("DOWN"),
            listed("UP"),
            listed("OUT_OF_SERVICE"),
        ];
        assert_eq!(hash(all.iter()), "DOWN_1_OUT_OF_SERVICE_1_UP_2_");
        assert_eq!(hash([].iter()), "");
    }

    #[test]
    fn a_virtual_address_is_one_of_a_list() {
        let mut value = instance("a", "UP");
        value["vipAddress"] = json!("x, add.example ");
        value["secureVipAddress"] = json!("secure");
        value["securePort"] = json!({"$": 443, "@enabled": "true"});
        let listed = read_instance("A", &value).unwrap();
        let is_selected = |vip: &str, is_secure| {
            listed
                .select(&Selector::Vip(vip.into()), is_secure)
                .is_some()
        };
        assert!(is_selected("add.example", false) && is_selected("X", false));
        assert!(
            !is_selected("add", false)
                && !is_selected("secure", false)
                && is_selected("secure", true)
        );
    }

    #[test]
    fn all_metadata_come_back() {
        for address in ["10.0.0.7:80", "[::1]:80", "a.internal:80"] {
            let sent = Instance::new(address.parse().unwrap())
                .weight(0)
                .zone("eu-1a")
                .version("1.2")
                .tag("canary", "")
                .tag("a.b/c", "ä");
            for is_secure in [false, true] {
                let app = Selector::App("a".into());
                let body =
                    Registration::new(&app, "id", &sent, is_secure, Duration::from_millis(4100));
                assert_eq!(body.instance["leaseInfo"]["durationInSecs"], 5);
                let listed = read_instance("A", &body.instance).unwrap();
                assert_eq!(listed.select(&app, is_secure), Some(&sent));
                assert_eq!(listed.select(&app, !is_secure), None);
            }
        }
    }

    #[test]
    fn the_zone_of_amazon_is_used_where_there_is_no_other() {
        let mut value = instance("a", "UP");
        value["dataCenterInfo"] =
            json!({"name": "Amazon", "metadata": {"availability-zone": "us-east-1c"}});
        value["metadata"] =
            json!({"@class": "java.util.Collections$EmptyMap", "weight": 3, "n": true});
        let listed = read_instance("A", &value).unwrap();
        let instance = listed.select(&Selector::App("A".into()), false).unwrap();
        assert_eq!(
            (instance.zone.as_deref(), instance.weight),
            (Some("us-east-1c"), 3)
        );
        assert_eq!(
            *instance.tags,
            BTreeMap::from([("n".into(), "true".into())])
        );
    }
}
