//! The behaviour with a real API server, which `scripts/kube-apiserver` builds, on etcd. It serves `v1beta1` only.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use http::{Method, Request};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use towerkit_discovery::Discovery;
use towerkit_discovery_kubernetes::{Kubernetes, kube};
use towerkit_programs::{Program, free_port, until};

use crate::api_server::{error, instances_within, status, within};

/// For the start of the servers, on a busy machine.
const START: Duration = Duration::from_secs(60);
/// For conditions that hold within two seconds on an idle machine.
const DEADLINE: Duration = Duration::from_secs(30);
const GROUP: &str = "/apis/discovery.k8s.io/v1beta1/namespaces/default/endpointslices";

struct Cluster {
    etcd: Program,
    api: Program,
    port: u16,
    authority: Vec<u8>,
}

impl Cluster {
    async fn start() -> Self {
        let (etcd_port, peer_port, port) = (free_port(), free_port(), free_port());
        let url = |port| format!("http://127.0.0.1:{port}");
        let mut etcd = Program::new("etcd");
        let data = etcd.folder().join("data");
        etcd.start([
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={}", url(etcd_port)),
            format!("--advertise-client-urls={}", url(etcd_port)),
            format!("--listen-peer-urls={}", url(peer_port)),
            format!("--initial-advertise-peer-urls={}", url(peer_port)),
            format!("--initial-cluster=default={}", url(peer_port)),
        ]);
        until("etcd listens", START, || {
            TcpStream::connect(("127.0.0.1", etcd_port)).ok()
        });

        let mut api = Program::new("kube-apiserver");
        let authority = write_certificates(api.folder());
        let file = |name: &str| api.folder().join(name).display().to_string();
        let tokens = "admin,admin,1,\"system:masters\"\nreader,reader,2\nstranger,stranger,3\n";
        let arguments = [
            format!("--etcd-servers={}", url(etcd_port)),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--tls-cert-file={}", file("server.pem")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--service-account-signing-key-file={}", file("server.key")),
            format!("--service-account-key-file={}", file("server.pem")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--token-auth-file={}", api.file("tokens.csv", tokens)),
            "--authorization-mode=RBAC".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/24".to_owned(),
        ];
        api.start(arguments);
        let cluster = Self {
            etcd,
            api,
            port,
            authority,
        };
        cluster.wait_until_ready().await;
        cluster.grant("reader").await;
        cluster
    }

    async fn wait_until_ready(&self) {
        let deadline = Instant::now() + START;
        while self.request(Method::GET, "/readyz", None).await.is_err()
            || self
                .request(Method::GET, "/api/v1/namespaces/default", None)
                .await
                .is_err()
        {
            assert!(Instant::now() < deadline, "the API server is never ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn config(&self, token: &str) -> kube::Config {
        let url = format!("https://127.0.0.1:{}", self.port);
        let mut config = kube::Config::new(url.parse().unwrap());
        config.root_cert = Some(vec![self.authority.clone()]);
        config.auth_info.token = Some(token.to_owned().into());
        config.default_retry = false;
        config
    }

    fn discovery(&self, token: &str) -> Discovery {
        let kubernetes = Kubernetes::from_config(self.config(token)).unwrap();
        Discovery::spawn(kubernetes.service("default", "addsvc").unwrap())
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> kube::Result<String> {
        let client = kube::Client::try_from(self.config("admin"))?;
        let body = body
            .map(|body| body.to_string().into_bytes())
            .unwrap_or_default();
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header("content-type", "application/json")
            .body(body);
        client.request_text(request.unwrap()).await
    }

    async fn create(&self, path: &str, body: Value) {
        self.request(Method::POST, path, Some(body)).await.unwrap();
    }

    /// Grants the rights that the documentation names.
    async fn grant(&self, user: &str) {
        let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
        let rule = json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]});
        let role = json!({"metadata": {"name": user}, "rules": [rule]});
        self.create(&format!("{rbac}/roles"), role).await;
        let binding = json!({
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        self.create(&format!("{rbac}/rolebindings"), binding).await;
    }

    fn slice(name: &str, addresses: &[&str]) -> Value {
        let endpoints: Vec<_> = addresses
            .iter()
            .map(|address| {
                json!({
                    "addresses": [address], "conditions": {"ready": true},
                    "topology": {"topology.kubernetes.io/zone": "eu-1a"},
                })
            })
            .collect();
        json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "addsvc"}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080}],
        })
    }

    async fn add(&self, name: &str, addresses: &[&str]) {
        self.create(GROUP, Self::slice(name, addresses)).await;
    }

    async fn replace(&self, name: &str, addresses: &[&str]) {
        let path = format!("{GROUP}/{name}");
        let slice = Self::slice(name, addresses);
        self.request(Method::PUT, &path, Some(slice)).await.unwrap();
    }

    async fn remove(&self, name: &str) {
        let path = format!("{GROUP}/{name}");
        self.request(Method::DELETE, &path, None).await.unwrap();
    }
}

/// Writes a certificate for `127.0.0.1` and its key to the folder, and returns the authority of it.
fn write_certificates(folder: &Path) -> Vec<u8> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    authority.as_ref().der().to_vec()
}

#[tokio::test]
#[ignore = "needs kube-apiserver"]
async fn instances_follow_the_slices_of_a_real_server_through_its_faults() {
    let mut cluster = Cluster::start().await;
    let discovery = cluster.discovery("reader");
    assert!(discovery.ready().await.instances.is_empty());
    cluster.add("a", &["10.0.0.1", "10.0.0.2"]).await;
    instances_within(DEADLINE, &discovery, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let instances = discovery.current().instances;
    assert_eq!(instances[0].zone.as_deref(), Some("eu-1a"));
    cluster.add("b", &["10.0.0.2", "10.0.0.3"]).await;
    instances_within(
        DEADLINE,
        &discovery,
        &["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"],
    )
    .await;
    cluster.remove("a").await;
    instances_within(DEADLINE, &discovery, &["10.0.0.2:8080", "10.0.0.3:8080"]).await;

    // SD-01: killed and restarted.
    cluster.api.kill();
    within(DEADLINE, || status(&discovery) == "stale").await;
    instances_within(
        Duration::ZERO,
        &discovery,
        &["10.0.0.2:8080", "10.0.0.3:8080"],
    )
    .await;
    cluster.api.restart();
    cluster.wait_until_ready().await;
    within(DEADLINE, || status(&discovery) == "current").await;
    cluster.replace("b", &["10.0.0.4"]).await;
    instances_within(DEADLINE, &discovery, &["10.0.0.4:8080"]).await;

    // Stopped and continued.
    cluster.api.signal("STOP");
    tokio::time::sleep(Duration::from_secs(3)).await;
    instances_within(Duration::ZERO, &discovery, &["10.0.0.4:8080"]).await;
    cluster.api.signal("CONT");
    cluster.replace("b", &["10.0.0.5"]).await;
    instances_within(DEADLINE, &discovery, &["10.0.0.5:8080"]).await;

    // SD-02: restarted without its data.
    cluster.api.kill();
    cluster.etcd.kill();
    fs::remove_dir_all(cluster.etcd.folder().join("data")).unwrap();
    cluster.etcd.restart();
    cluster.api.restart();
    cluster.wait_until_ready().await;
    cluster.grant("reader").await;
    instances_within(Duration::from_secs(60), &discovery, &[]).await;
    cluster.add("a", &["10.0.0.6"]).await;
    instances_within(DEADLINE, &discovery, &["10.0.0.6:8080"]).await;
    assert_eq!(status(&discovery), "current");
}

#[tokio::test]
#[ignore = "needs kube-apiserver"]
async fn a_real_server_without_the_role_or_with_a_wrong_token_is_an_error_that_says_so() {
    let cluster = Cluster::start().await;
    cluster.add("a", &["10.0.0.1"]).await;
    let discovery = cluster.discovery("stranger");
    within(DEADLINE, || status(&discovery) == "stale").await;
    let message = error(&discovery);
    assert!(
        message.contains("the verb list on the resource endpointslices"),
        "{message}"
    );
    cluster.grant("stranger").await;
    instances_within(Duration::from_secs(60), &discovery, &["10.0.0.1:8080"]).await;

    let discovery = cluster.discovery("unknown");
    within(DEADLINE, || status(&discovery) == "stale").await;
    assert!(error(&discovery).starts_with("unauthorized (401)"));
}
