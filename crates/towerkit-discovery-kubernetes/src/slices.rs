use std::collections::{BTreeMap, BTreeSet};

use towerkit_discovery::{Address, Instance};

use crate::{
    KubernetesError,
    endpoint_slice::{Endpoint, EndpointSlice, Port},
    error::Kind,
    label::is_label,
};

/// The maximum number of slices of a service, and the maximum number of endpoints that the API allows in one.
const CAPACITY: usize = 1000;
/// The zone of an endpoint in `v1beta1`.
const ZONE: &str = "topology.kubernetes.io/zone";
/// The number of ports that an error names.
const NAMED_PORTS: usize = 5;

/// The slices of one service, merged.
///
/// A slice is kept as the instances that it makes.
#[derive(Debug)]
pub(crate) struct Slices {
    port: Option<String>,
    by_name: BTreeMap<String, Slice>,
}

#[derive(Debug)]
struct Slice {
    family: Family,
    /// True if it lists an endpoint, ready or not.
    has_endpoints: bool,
    /// The names of its TCP ports.
    ports: Vec<String>,
    /// The ready endpoints at the chosen port; `None` if the slice does not have it.
    instances: Option<Vec<Instance>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    IPv4,
    IPv6,
    Name,
}

impl Slices {
    /// Makes the slices of a service, of which the port with this name is used, or else the only one.
    pub(crate) const fn new(port: Option<String>) -> Self {
        Self {
            port,
            by_name: BTreeMap::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.by_name.clear();
    }

    /// Adds a slice, or replaces the one of that name.
    pub(crate) fn apply(&mut self, slice: EndpointSlice) {
        let name = slice.metadata.name.clone().unwrap_or_default();
        match self.read(slice) {
            Some(slice) if self.by_name.len() < CAPACITY || self.by_name.contains_key(&name) => {
                self.by_name.insert(name, slice);
            }
            Some(_) => {}
            None => {
                self.by_name.remove(&name);
            }
        }
    }

    pub(crate) fn delete(&mut self, slice: &EndpointSlice) {
        self.by_name
            .remove(slice.metadata.name.as_deref().unwrap_or_default());
    }

    /// Returns the instances of all slices, which may have an address twice.
    ///
    /// # Errors
    ///
    /// Returns an error that names the ports if no endpoint has the port that was chosen.
    pub(crate) fn instances(&self) -> Result<Vec<Instance>, KubernetesError> {
        let has_ipv4 = self
            .by_name
            .values()
            .any(|slice| slice.family == Family::IPv4 && slice.has_endpoints);
        let unused = if has_ipv4 { Family::IPv6 } else { Family::IPv4 };
        let used = || {
            let slices = self.by_name.values();
            slices.filter(move |slice| slice.has_endpoints && slice.family != unused)
        };
        if used().next().is_some() && used().all(|slice| slice.instances.is_none()) {
            let ports = used().flat_map(|slice| &slice.ports).collect();
            return Err(self.port_error(&ports));
        }
        let instances = used().filter_map(|slice| slice.instances.as_ref());
        Ok(instances.flatten().cloned().collect())
    }

    fn port_error(&self, ports: &BTreeSet<&String>) -> KubernetesError {
        let names: Vec<_> = ports
            .iter()
            .filter(|name| is_label(name))
            .take(NAMED_PORTS)
            .map(|name| name.as_str())
            .collect();
        let names = names.join(", ");
        Kind::Port(match &self.port {
            Some(port) => format!("the service has no TCP port {port:?}, but: {names}"),
            None => {
                format!("the service does not have exactly one TCP port, choose one of: {names}")
            }
        })
        .into()
    }

    /// Reads a slice; `None` if its type of addresses is unknown.
    fn read(&self, slice: EndpointSlice) -> Option<Slice> {
        let family = match slice.address_type.as_str() {
            "IPv4" => Family::IPv4,
            "IPv6" => Family::IPv6,
            "FQDN" => Family::Name,
            _ => return None,
        };
        let endpoints = slice.endpoints.into_iter().take(CAPACITY);
        let port = self.find_port(&slice.ports);
        Some(Slice {
            family,
            has_endpoints: endpoints.len() > 0,
            ports: tcp(&slice.ports)
                .map(|port| name_of(port).to_owned())
                .collect(),
            instances: port.map(|port| {
                endpoints
                    .filter_map(|endpoint| instance(endpoint, port))
                    .collect()
            }),
        })
    }

    fn find_port(&self, ports: &[Port]) -> Option<u16> {
        let mut ports = tcp(ports).filter(|port| match &self.port {
            Some(name) => name_of(port) == name,
            None => true,
        });
        match (ports.next(), ports.next()) {
            (Some(port), None) => port.port,
            _ => None,
        }
    }
}

fn tcp(ports: &[Port]) -> impl Iterator<Item = &Port> {
    // TCP is the default.
    let is_tcp = |port: &&Port| port.protocol.as_deref().is_none_or(|name| name == "TCP");
    ports.iter().filter(is_tcp)
}

fn name_of(port: &Port) -> &str {
    port.name.as_deref().unwrap_or_default()
}

/// Returns the instance of a ready endpoint.
fn instance(endpoint: Endpoint, port: u16) -> Option<Instance> {
    // By the API a missing condition is to be read as true. It is false while a pod terminates.
    let ready = endpoint.conditions.and_then(|conditions| conditions.ready);
    if ready == Some(false) {
        return None;
    }
    // Addresses beyond the first have no meaning.
    let address = Address::new(endpoint.addresses.first()?, port).ok()?;
    let mut instance = Instance::new(address);
    let topology = endpoint.topology.and_then(|mut zones| zones.remove(ZONE));
    if let Some(zone) = endpoint.zone.or(topology) {
        instance = instance.zone(zone);
    }
    if let Some(node) = endpoint.node_name {
        instance = instance.tag("node", node);
    }
    if let Some(target) = endpoint.target_ref
        && target.kind.as_deref() == Some("Pod")
        && let Some(pod) = target.name
    {
        instance = instance.tag("pod", pod);
    }
    Some(instance)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn slice(name: &str, family: &str, endpoints: Value) -> EndpointSlice {
        let ports =
            json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
        with_ports(name, family, endpoints, ports)
    }

    fn with_ports(name: &str, family: &str, endpoints: Value, ports: Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": name}, "addressType": family, "endpoints": endpoints, "ports": ports,
        }))
        .unwrap()
    }

    fn addresses(slices: &Slices) -> Vec<String> {
        let instances = slices.instances().unwrap();
        instances
            .iter()
            .map(|instance| instance.address.to_string())
            .collect()
    }

    fn of(slices: impl IntoIterator<Item = EndpointSlice>) -> Slices {
        let mut merged = Slices::new(None);
        slices.into_iter().for_each(|slice| merged.apply(slice));
        merged
    }

    #[test]
    fn an_endpoint_is_an_instance_if_ready_is_true_or_missing() {
        let endpoints = json!([
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true, "serving": true, "terminating": false}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": false, "serving": false}},
            {"addresses": ["10.0.0.4"], "conditions": {"ready": null}},
            {"addresses": ["10.0.0.5"], "conditions": {}},
            {"addresses": ["10.0.0.6"]},
            {"addresses": ["10.0.0.7", "10.0.0.8"]},
            {"addresses": []},
            {"addresses": ["no address"]},
        ]);
        let expected = [
            "10.0.0.1:80",
            "10.0.0.4:80",
            "10.0.0.5:80",
            "10.0.0.6:80",
            "10.0.0.7:80",
        ];
        assert_eq!(addresses(&of([slice("a", "IPv4", endpoints)])), expected);
    }

    #[test]
    fn an_instance_has_zone_pod_and_node() {
        let endpoints = json!([
            {"addresses": ["10.0.0.1"], "zone": "eu-1a", "nodeName": "n1", "targetRef": {"kind": "Pod", "name": "p1"}},
            {"addresses": ["10.0.0.2"], "topology": {"topology.kubernetes.io/zone": "eu-1b", "kubernetes.io/hostname": "n2"},
             "targetRef": {"kind": "Node", "name": "n2"}},
        ]);
        let instances = of([slice("a", "IPv4", endpoints)]).instances().unwrap();
        let expected = Instance::new("10.0.0.1:80".parse().unwrap());
        let expected = expected.zone("eu-1a").tag("node", "n1").tag("pod", "p1");
        assert_eq!(instances[0], expected);
        let expected = Instance::new("10.0.0.2:80".parse().unwrap()).zone("eu-1b");
        assert_eq!(instances[1], expected);
    }

    #[test]
    fn a_dual_stack_service_has_one_instance_for_each_pod() {
        let ipv4 = |endpoints| slice("a", "IPv4", endpoints);
        let ipv6 = slice("b", "IPv6", json!([{"addresses": ["fd00::1"]}]));
        let pod = json!([{"addresses": ["10.0.0.1"]}]);
        assert_eq!(addresses(&of([ipv4(pod), ipv6.clone()])), ["10.0.0.1:80"]);
        // A pod that is not ready, and a slice that only holds the place of its family.
        let unready = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": false}}]);
        assert!(addresses(&of([ipv4(unready), ipv6.clone()])).is_empty());
        assert_eq!(addresses(&of([ipv4(json!([])), ipv6])), ["[fd00::1]:80"]);
    }

    #[test]
    fn host_names_are_instances_beside_the_addresses_of_a_family() {
        let names = slice("a", "FQDN", json!([{"addresses": ["DB.example.org."]}]));
        let ipv6 = slice("b", "IPv6", json!([{"addresses": ["fd00::1"]}]));
        let unknown = slice("c", "Quic", json!([{"addresses": ["10.0.0.1"]}]));
        let merged = of([names, ipv6, unknown]);
        assert_eq!(addresses(&merged), ["db.example.org:80", "[fd00::1]:80"]);
    }

    #[test]
    fn a_port_that_is_not_there_is_an_error_that_names_the_others() {
        let mut slices = Slices::new(Some("grpc".to_owned()));
        slices.apply(slice("a", "IPv4", json!([])));
        assert!(addresses(&slices).is_empty());
        slices.apply(slice("a", "IPv4", json!([{"addresses": ["10.0.0.1"]}])));
        let error = slices.instances().unwrap_err().to_string();
        assert_eq!(error, r#"the service has no TCP port "grpc", but: http"#);
        // Pods of a rolling update may have the port already.
        let ports = json!([{"name": "grpc", "port": 81}, {"name": "http", "port": 80}]);
        let both = with_ports("b", "IPv4", json!([{"addresses": ["10.0.0.2"]}]), ports);
        slices.apply(both.clone());
        assert_eq!(addresses(&slices), ["10.0.0.2:81"]);
        let error = of([both]).instances().unwrap_err().to_string();
        assert!(error.ends_with("choose one of: grpc, http"), "{error}");
    }

    #[test]
    fn a_hostile_port_makes_no_instance() {
        // SD-12
        let endpoints = || json!([{"addresses": ["10.0.0.1"]}]);
        for port in [
            json!({"port": 0}),
            json!({"port": 70000}),
            json!({"port": -1}),
            json!({}),
        ] {
            let merged = of([with_ports("a", "IPv4", endpoints(), json!([port]))]);
            assert!(merged.instances().is_err() || addresses(&merged).is_empty());
        }
        let secret = json!([{"name": "a\r\nb", "port": 1}, {"name": "ok", "port": 2}]);
        let merged = of([with_ports("a", "IPv4", endpoints(), secret)]);
        let error = merged.instances().unwrap_err().to_string();
        assert!(error.ends_with("one of: ok"), "{error}");
    }

    #[test]
    fn slices_without_bounds_are_capped() {
        // SD-12
        let endpoints: Vec<_> = (0..2000)
            .map(|n| json!({"addresses": [format!("10.0.{}.{}", n / 250, n % 250)]}))
            .collect();
        let mut slices = of([slice("a", "IPv4", endpoints.into())]);
        assert_eq!(addresses(&slices).len(), CAPACITY);
        for n in 0..2 * CAPACITY {
            let endpoint = json!([{"addresses": ["10.1.0.1"]}]);
            slices.apply(slice(&format!("b{n}"), "IPv4", endpoint));
        }
        assert_eq!(slices.by_name.len(), CAPACITY);
    }

    proptest! {
        #[test]
        fn changes_come_to_the_same_as_a_list(
            changes in prop::collection::vec((0..4_u8, prop::option::of(prop::collection::vec(0..6_u8, 0..4)), 0..3_usize), 0..30),
        ) {
            let family = |n: usize| ["IPv4", "IPv6", "FQDN"][n];
            let text = |n: u8, kind: usize| [format!("10.0.0.{n}"), format!("fd00::{n}"), format!("h{n}")][kind].clone();
            let mut changed = Slices::new(None);
            let mut model = BTreeMap::new();
            for (name, endpoints, kind) in changes {
                let name = name.to_string();
                match endpoints {
                    Some(endpoints) => {
                        let endpoints: Vec<_> = endpoints.iter().map(|n| json!({"addresses": [text(*n, kind)]})).collect();
                        let applied = slice(&name, family(kind), endpoints.into());
                        changed.apply(applied.clone());
                        model.insert(name, applied);
                    }
                    None => {
                        changed.delete(&slice(&name, family(kind), json!([])));
                        model.remove(&name);
                    }
                }
                prop_assert_eq!(addresses(&changed), addresses(&of(model.values().cloned())));
            }
        }
    }
}
