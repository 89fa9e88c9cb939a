//! Service discovery from Kubernetes: the ready endpoints of a service, from its [EndpointSlices].
//!
//! In Kubernetes a [headless service] by DNS is the simple way, and needs neither this crate nor rights: its name resolves to the
//! addresses of the ready pods. Use this crate where changes must arrive within milliseconds, where the zone of an instance counts,
//! or where clients run outside of the cluster's DNS. The crate only discovers instances. Kubernetes itself registers and
//! deregisters pods, by their readiness probes.
//!
//! ```no_run
//! use towerkit_discovery::Discovery;
//! use towerkit_discovery_kubernetes::Kubernetes;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let kubernetes = Kubernetes::in_cluster()?;
//! let discovery = Discovery::spawn(kubernetes.service("shop", "addsvc")?.port("http"));
//! for instance in discovery.ready().await.instances.iter() {
//!     println!("{} in {:?}", instance.address, instance.zone);
//! }
//! # Ok(()) }
//! ```
//!
//! # Instances
//!
//! | field of an [`Instance`] | from |
//! |---|---|
//! | [`address`](towerkit_discovery::Instance::address) | the first address of an endpoint, and the port of its slice by [`port`](KubernetesService::port) |
//! | [`zone`](towerkit_discovery::Instance::zone) | `zone` of the endpoint; in `v1beta1` the topology [`topology.kubernetes.io/zone`] |
//! | [`tags`](towerkit_discovery::Instance::tags) | `pod`, the name of the pod, and `node`, the name of its node |
//! | [`weight`](towerkit_discovery::Instance::weight), [`version`](towerkit_discovery::Instance::version) | not in an EndpointSlice: 1, and `None` |
//!
//! - The slices of a service are merged, and an endpoint in several of them is one instance.
//! - An endpoint is an instance if its condition `ready` is true or missing, as the [API] says. A pod that terminates is not ready,
//!   although it may still serve calls: it finishes its calls and gets no further ones. With [`publishNotReadyAddresses`] a service
//!   declares all of its endpoints ready.
//! - A pod of a [dual-stack] service has an address of each family in slices of their own. IPv4 is used if the slices of that family
//!   list any endpoint, ready or not, and IPv6 otherwise, so that a pod is one instance.
//! - Slices of the type `FQDN` give names, which the client that connects resolves.
//! - Loopback, link-local and metadata addresses are refused, as from every registry ([`AddressPolicy::Remote`]).
//!
//! # Rights
//!
//! The [service account] of the pod needs to list and watch the slices of the namespace:
//!
//! ```yaml
//! apiVersion: rbac.authorization.k8s.io/v1
//! kind: Role
//! metadata: {name: discovery, namespace: shop}
//! rules:
//!   - apiGroups: [discovery.k8s.io]
//!     resources: [endpointslices]
//!     verbs: [list, watch]
//! ---
//! apiVersion: rbac.authorization.k8s.io/v1
//! kind: RoleBinding
//! metadata: {name: discovery, namespace: shop}
//! roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: discovery}
//! subjects:
//!   - {kind: ServiceAccount, name: front, namespace: shop}
//! ```
//!
//! Without them the status of the discovery is [`Stale`], with a [`KubernetesError`] that names the missing verb.
//!
//! # Errors
//!
//! The last known set stays in use in every fault. The slices are listed anew after each of them: a connection that broke, a
//! [watch] that ended before its time, that was silent for 90 seconds or that is too old for the server (410), and an answer that
//! is not a list of slices. A [`Pacer`] sends at most two requests a second for each service, with a random backoff of up to 1.5
//! seconds, or of up to 30 seconds if the API server refuses the credentials or the rights.
//!
//! An error has neither texts of the API server nor credentials in it.
//!
//! An API server whose etcd is restored from a backup must be [restarted](https://kubernetes.io/docs/tasks/administer-cluster/configure-upgrade-etcd/#restoring-an-etcd-cluster):
//! until then its watches report no changes.
//!
//! # Tokens
//!
//! The [token] of a service account is read again once a minute, and at once if the API server refuses it. The same holds for a
//! [`Kubernetes`] that is made from a kubeconfig, whose command for credentials is run again if they are refused: the source spawns a
//! task for blocking code for that.
//!
//! # Tasks
//!
//! A client of kube spawns a task, which ends with the client. A command for credentials, and the files of refused ones, are read on
//! a thread for blocking work.
//!
//! # Features
//!
//! [`k8s-openapi`] wants one version of Kubernetes to be chosen in a program. The default feature `latest` chooses the newest, which
//! makes no difference here, because this crate reads slices by types of its own. If another crate of the program chooses a version,
//! turn the default features off.
//!
//! # Versions
//!
//! The API version `discovery.k8s.io/v1` is used (Kubernetes 1.21 and later), or `v1beta1` if a server does not have it.
//!
//! [API]: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
//! [EndpointSlices]: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
//! [headless service]: https://kubernetes.io/docs/concepts/services-networking/service/#headless-services
//! [dual-stack]: https://kubernetes.io/docs/concepts/services-networking/dual-stack/
//! [service account]: https://kubernetes.io/docs/concepts/security/service-accounts/
//! [token]: https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken
//! [watch]: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
//! [`AddressPolicy::Remote`]: towerkit_discovery::AddressPolicy::Remote
//! [`Instance`]: towerkit_discovery::Instance
//! [`Pacer`]: towerkit_discovery::Pacer
//! [`Stale`]: towerkit_discovery::DiscoveryStatus::Stale
//! [`publishNotReadyAddresses`]: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/
//! [`topology.kubernetes.io/zone`]: https://kubernetes.io/docs/reference/labels-annotations-taints/#topologykubernetesiozone
//! [`k8s-openapi`]: https://docs.rs/k8s-openapi/#crate-features

mod access;
mod api_service;
mod endpoint_slice;
mod error;
mod kubernetes;
mod label;
mod service;
mod slices;
mod watch_body;

pub use error::KubernetesError;
pub use kube;
pub use kubernetes::Kubernetes;
pub use service::KubernetesService;
