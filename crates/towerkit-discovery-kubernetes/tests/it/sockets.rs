//! The behaviour over sockets: a server that is killed, TLS, and credentials. Waits for conditions, with deadlines.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, pki_types::PrivateKeyDer, server::WebPkiClientVerifier};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use towerkit_core::{Event, EventSink};
use towerkit_discovery::{Discovery, DiscoveryOptions};
use towerkit_discovery_kubernetes::{Kubernetes, KubernetesError, kube};

use crate::api_server::{ApiServer, Fault, error, instances_within, status, within};

/// For conditions that hold after at most two seconds on an idle machine.
const DEADLINE: Duration = Duration::from_secs(30);
const CANARY: &str = "canary-5f2d";

/// Listens, and is killed with all of its connections when it is dropped.
struct Listening {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

async fn listen(server: &ApiServer, address: &str, tls: Option<ServerConfig>) -> Listening {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server.clone();
    let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (server, tls) = (server.clone(), tls.clone());
            connections.spawn(async move {
                match tls {
                    Some(tls) => {
                        if let Ok(socket) = tls.accept(socket).await {
                            serve(server, socket).await;
                        }
                    }
                    None => serve(server, socket).await,
                }
            });
        }
    });
    Listening {
        address,
        _tasks: tasks,
    }
}

async fn serve(server: ApiServer, socket: impl AsyncRead + AsyncWrite + Unpin) {
    let answer = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.answer(request.into_parts().0).await) }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(socket), answer)
        .await;
}

/// A folder that is removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("towerkit-kubernetes-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(listening: &Listening) -> kube::Config {
    kube::Config::new(format!("http://{}", listening.address).parse().unwrap())
}

fn discovery(kubernetes: &Kubernetes) -> Discovery {
    Discovery::spawn(kubernetes.service("shop", "addsvc").unwrap())
}

#[tokio::test]
async fn a_server_that_is_killed_and_restarted_is_listed_again() {
    // SD-01
    let server = ApiServer::with(&["10.0.0.1"]);
    let listening = listen(&server, "127.0.0.1:0", None).await;
    let address = listening.address.to_string();
    let discovery = discovery(&Kubernetes::from_config(config(&listening)).unwrap());
    within(DEADLINE, || server.open_watches() == 1).await;
    server.put("a", &["10.0.0.2"]);
    instances_within(DEADLINE, &discovery, &["10.0.0.2:80"]).await;

    drop(listening);
    within(DEADLINE, || status(&discovery) == "stale").await;
    assert!(
        error(&discovery).contains("refused"),
        "{}",
        error(&discovery)
    );
    instances_within(Duration::ZERO, &discovery, &["10.0.0.2:80"]).await;
    server.put("a", &["10.0.0.3"]);
    let _listening = listen(&server, &address, None).await;
    instances_within(DEADLINE, &discovery, &["10.0.0.3:80"]).await;
    assert_eq!(status(&discovery), "current");
}

#[tokio::test]
async fn a_connection_that_breaks_within_an_event_is_replaced() {
    let server = ApiServer::with(&["10.0.0.1"]);
    let listening = listen(&server, "127.0.0.1:0", None).await;
    let discovery = discovery(&Kubernetes::from_config(config(&listening)).unwrap());
    within(DEADLINE, || server.open_watches() == 1).await;
    server.send_to_watches("{\"type\": \"MODIFIED\", \"object\": {\"metadata\": {\"na");
    server.abort_watches();
    server.put("a", &["10.0.0.2"]);
    instances_within(DEADLINE, &discovery, &["10.0.0.2:80"]).await;
    within(DEADLINE, || server.open_watches() == 1).await;
    assert_eq!(status(&discovery), "current");
}

#[tokio::test]
async fn a_token_that_is_replaced_on_disk_is_read_as_soon_as_the_old_one_is_refused() {
    let server = ApiServer::with(&["10.0.0.1"]);
    server.set_token("first");
    let listening = listen(&server, "127.0.0.1:0", None).await;
    let folder = Folder::new();
    let mut config = config(&listening);
    config.auth_info.token_file = Some(folder.write("token", "first"));
    let kubernetes = Kubernetes::from_config(config).unwrap();
    let discovery = discovery(&kubernetes);
    within(DEADLINE, || server.open_watches() == 1).await;

    server.set_token("second");
    server.end_watches();
    within(DEADLINE, || status(&discovery) == "stale").await;
    assert!(error(&discovery).starts_with("unauthorized"));
    instances_within(Duration::ZERO, &discovery, &["10.0.0.1:80"]).await;
    folder.write("token", "second");
    server.put("a", &["10.0.0.2"]);
    instances_within(DEADLINE, &discovery, &["10.0.0.2:80"]).await;
    let last = server.requests().pop().unwrap();
    assert_eq!(last.authorization.unwrap(), "Bearer second");
}

/// Writes an authority and a certificate of it for the address `127.0.0.1` to the folder.
fn write_certificates(folder: &Folder) -> ServerConfig {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let certificate = || {
        let key = KeyPair::generate().unwrap();
        let names = ["127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        (params.signed_by(&key, &authority).unwrap(), key)
    };
    folder.write("ca.pem", &authority.as_ref().pem());
    let (client, client_key) = certificate();
    folder.write("client.pem", &client.pem());
    folder.write("client.key", &client_key.serialize_pem());
    let (server, server_key) = certificate();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.as_ref().der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![server.der().clone()],
            PrivateKeyDer::try_from(server_key.serialize_der()).unwrap(),
        )
        .unwrap()
}

async fn from_kubeconfig(
    listening: &Listening,
    authority: &Path,
    client: &Path,
) -> Result<Kubernetes, KubernetesError> {
    let kubeconfig = format!(
        "apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
clusters: [{{name: test, cluster: {{server: 'https://{}', certificate-authority: '{}'}}}}]
users: [{{name: test, user: {{client-certificate: '{2}.pem', client-key: '{2}.key', token: {CANARY}}}}}]
",
        listening.address,
        authority.display(),
        client.display(),
    );
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await;
    let mut config = config.unwrap();
    // That of the machine.
    config.proxy_url = None;
    Kubernetes::from_config(config)
}

#[tokio::test]
async fn tls_uses_the_authority_and_the_certificate_of_a_kubeconfig() {
    let server = ApiServer::with(&["10.0.0.1"]);
    server.set_token(CANARY);
    let (folder, other) = (Folder::new(), Folder::new());
    let tls = write_certificates(&folder);
    write_certificates(&other);
    let listening = listen(&server, "127.0.0.1:0", Some(tls)).await;

    let authority = folder.0.join("ca.pem");
    let client = folder.0.join("client");
    let kubernetes = from_kubeconfig(&listening, &authority, &client).await;
    let known = discovery(&kubernetes.unwrap());
    instances_within(DEADLINE, &known, &["10.0.0.1:80"]).await;

    let wrong = other.0.join("ca.pem");
    let kubernetes = from_kubeconfig(&listening, &wrong, &client).await;
    let unknown = discovery(&kubernetes.unwrap());
    within(DEADLINE, || status(&unknown) == "stale").await;
    assert!(
        error(&unknown).contains("certificate"),
        "{}",
        error(&unknown)
    );

    let kubernetes = from_kubeconfig(&listening, &authority, &other.0.join("client")).await;
    let refused = discovery(&kubernetes.unwrap());
    within(DEADLINE, || status(&refused) == "stale").await;

    folder.write("garbage.pem", "garbage");
    folder.write("garbage.key", CANARY);
    let garbage = from_kubeconfig(&listening, &authority, &folder.0.join("garbage")).await;
    let message = garbage.unwrap_err().to_string();
    assert_eq!(message, "a certificate or key is not valid");
    let missing = from_kubeconfig(&listening, &authority, &folder.0.join("missing")).await;
    let message = missing.unwrap_err().to_string();
    assert!(message.contains("missing.pem cannot be read"), "{message}");
}

#[derive(Clone, Default)]
struct Messages(Arc<Mutex<Vec<String>>>);

impl EventSink for Messages {
    fn emit(&self, event: &Event) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

#[tokio::test]
async fn a_token_is_in_no_error_event_or_debug_text() {
    // SD-16: a server that repeats what it was sent.
    let server = ApiServer::with(&["10.0.0.1"]);
    let listening = listen(&server, "127.0.0.1:0", None).await;
    let mut config = config(&listening);
    config.auth_info.token = Some(CANARY.to_owned().into());
    config.auth_info.username = Some("user".to_owned());
    config.auth_info.password = Some(CANARY.to_owned().into());
    let kubernetes = Kubernetes::from_config(config).unwrap();
    let messages = Messages::default();
    for fault in [
        Fault::Status(401, CANARY),
        Fault::Status(403, CANARY),
        Fault::Status(500, CANARY),
        Fault::List(CANARY.into()),
        Fault::List(format!(r#"{{"metadata": {{}}, "items": ["{CANARY}"]}}"#).into()),
        Fault::WatchStatus(403, CANARY),
        Fault::WatchStatus(500, CANARY),
    ] {
        server.set_fault(fault);
        let source = kubernetes.service("shop", "addsvc").unwrap();
        let mut text = format!("{kubernetes:?} {source:?}");
        let options = DiscoveryOptions::new().events(messages.clone());
        let discovery = options.spawn(source);
        within(DEADLINE, || status(&discovery) == "stale").await;
        text += &format!("{:?} {}", discovery.current(), error(&discovery));
        assert!(!text.contains(CANARY), "{text}");
        assert!(text.contains("Stale"));
    }
    let messages = messages.0.lock().unwrap();
    assert!(messages.len() >= 7 && !messages.join("").contains(CANARY));
}
