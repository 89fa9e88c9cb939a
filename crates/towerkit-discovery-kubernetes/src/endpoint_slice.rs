use std::{borrow::Cow, collections::BTreeMap};

use kube::{Resource, api::ObjectMeta, core::DynamicResourceScope};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// The version of the API `discovery.k8s.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiVersion {
    V1,
    /// Of Kubernetes 1.17 to 1.24.
    V1Beta1,
}

impl ApiVersion {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::V1 => Self::V1Beta1,
            Self::V1Beta1 => Self::V1,
        }
    }
}

/// The fields of an [EndpointSlice] that make instances, in both versions of the API.
///
/// An entry that is malformed is left out, and so does not hide the others.
///
/// [EndpointSlice]: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointSlice {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) address_type: String,
    #[serde(default, deserialize_with = "well_formed")]
    pub(crate) endpoints: Vec<Endpoint>,
    #[serde(default, deserialize_with = "well_formed")]
    pub(crate) ports: Vec<Port>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint {
    pub(crate) addresses: Vec<String>,
    pub(crate) conditions: Option<Conditions>,
    pub(crate) zone: Option<String>,
    pub(crate) node_name: Option<String>,
    pub(crate) target_ref: Option<TargetRef>,
    /// Has the zone in `v1beta1`.
    pub(crate) topology: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Conditions {
    pub(crate) ready: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct TargetRef {
    pub(crate) kind: Option<String>,
    pub(crate) name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Port {
    pub(crate) name: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Option<String>,
}

/// The shape of a list, against which an answer is checked.
#[derive(Deserialize)]
pub(crate) struct EndpointSliceList {
    #[serde(rename = "metadata")]
    _metadata: IgnoredAny,
    #[serde(rename = "items")]
    _items: Vec<EndpointSlice>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry<T> {
    WellFormed(T),
    Malformed(IgnoredAny),
}

/// Reads a list, which may be `null`, without its malformed entries.
fn well_formed<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let entries = Option::<Vec<Entry<T>>>::deserialize(deserializer)?;
    let entries = entries.into_iter().flatten();
    Ok(entries
        .filter_map(|entry| match entry {
            Entry::WellFormed(entry) => Some(entry),
            Entry::Malformed(_) => None,
        })
        .collect())
}

impl Resource for EndpointSlice {
    type DynamicType = ApiVersion;
    type Scope = DynamicResourceScope;

    fn kind(_: &ApiVersion) -> Cow<'_, str> {
        "EndpointSlice".into()
    }

    fn group(_: &ApiVersion) -> Cow<'_, str> {
        "discovery.k8s.io".into()
    }

    fn version(version: &ApiVersion) -> Cow<'_, str> {
        match version {
            ApiVersion::V1 => "v1".into(),
            ApiVersion::V1Beta1 => "v1beta1".into(),
        }
    }

    fn plural(_: &ApiVersion) -> Cow<'_, str> {
        "endpointslices".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_entry_is_left_out_and_the_others_are_kept() {
        // SD-12
        let slice: EndpointSlice = serde_json::from_str(
            r#"{"metadata": {"name": "a"}, "addressType": "IPv4",
                "endpoints": [
                    {"addresses": ["10.0.0.1"]}, {"addresses": "10.0.0.2"}, {"addresses": [7]}, null, 7, {},
                    {"addresses": ["10.0.0.3"], "conditions": {"ready": "yes"}}, {"addresses": ["10.0.0.4"], "zone": {}},
                    {"addresses": ["10.0.0.5"], "conditions": null, "zone": null}
                ],
                "ports": [{"name": "a", "port": 0}, {"name": "b", "port": 70000}, {"name": "c", "port": -1}, {"port": "80"}]}"#,
        )
        .unwrap();
        let addresses: Vec<_> = slice
            .endpoints
            .iter()
            .map(|endpoint| &endpoint.addresses[0])
            .collect();
        assert_eq!(addresses, ["10.0.0.1", "10.0.0.5"]);
        assert_eq!(slice.ports.len(), 1);
        let empty = r#"{"metadata": {}, "endpoints": null, "ports": null}"#;
        let slice: EndpointSlice = serde_json::from_str(empty).unwrap();
        assert!(slice.endpoints.is_empty() && slice.ports.is_empty());
    }

    #[test]
    fn deep_json_is_an_error() {
        // SD-12
        let deep = format!(
            r#"{{"metadata": {{}}, "endpoints": [{}"#,
            "[".repeat(10_000)
        );
        assert!(serde_json::from_str::<EndpointSlice>(&deep).is_err());
    }

    #[test]
    fn the_path_has_the_version() {
        let path = |version| EndpointSlice::url_path(&version, Some("shop"));
        assert_eq!(
            path(ApiVersion::V1),
            "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
        );
        assert_eq!(
            path(ApiVersion::V1Beta1),
            "/apis/discovery.k8s.io/v1beta1/namespaces/shop/endpointslices"
        );
    }
}
