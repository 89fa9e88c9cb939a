//! TLS with certificates made here.

use std::{convert::Infallible, error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use towerkit_http::PeerAddress;
use towerkit_server::{
    Drained, PeerCertificates, RequestBody, Server, Tls, TlsHandle, TlsListener,
};

use crate::setup::{SHORT, read_to_close, request, soon};

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
struct Certificate {
    chain: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certificate {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    fn tls(&self) -> Tls {
        let Certificate { chain, key } = self.issue();
        Tls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    }
}

fn der(pem: &str) -> Vec<CertificateDer<'static>> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    certificates.collect::<Result<_, _>>().unwrap()
}

/// A client that trusts `authority`, with a certificate of its own or without.
struct Client {
    config: ClientConfig,
}

impl Client {
    fn new(authority: &Authority, own: Option<&Certificate>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(der(&authority.certificate).remove(0)).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => config.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                config.with_client_auth_cert(der(&own.chain), key).unwrap()
            }
        };
        Self { config }
    }

    fn alpn(mut self, protocol: &str) -> Self {
        self.config.alpn_protocols = vec![protocol.into()];
        self
    }

    async fn connect(&self, server: &TlsServer) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(server.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(self.config.clone()));
        soon(connector.connect(name, stream)).await
    }

    /// Returns the response to one request.
    async fn get(&self, server: &TlsServer) -> std::io::Result<String> {
        let mut stream = self.connect(server).await?;
        let close = request("/").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, close.as_bytes()).await?;
        let mut response = String::new();
        soon(stream.read_to_string(&mut response)).await?;
        Ok(response)
    }
}

/// A server that answers with the number of certificates of its client.
struct TlsServer {
    address: std::net::SocketAddr,
    handle: TlsHandle,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Drained>,
}

impl TlsServer {
    async fn start(server: Server, tls: Tls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TlsListener::new(listener, tls);
        let handle = listener.handle();
        let (stop, stopped) = oneshot::channel();
        let service = tower::service_fn(async |request: Request<RequestBody>| {
            let extensions = request.extensions();
            assert!(extensions.get::<PeerAddress>().is_some());
            let chain: Option<&PeerCertificates> = extensions.get();
            let number = chain.map_or(0, |chain| chain.chain().len());
            let body = Full::<Bytes>::from(format!("{number} certificates"));
            Ok::<_, Infallible>(Response::new(body))
        });
        let task = tokio::spawn(server.serve(listener, service, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            handle,
            stop,
            task,
        }
    }
}

#[tokio::test]
async fn http_1_is_served_without_alpn() {
    let authority = Authority::new();
    let server = TlsServer::start(Server::new(), authority.tls()).await;
    let response = Client::new(&authority, None).get(&server).await.unwrap();
    assert!(response.ends_with("0 certificates"), "{response}");
}

#[tokio::test]
async fn the_client_chooses_the_version_by_alpn() {
    let authority = Authority::new();
    let server = TlsServer::start(Server::new(), authority.tls()).await;
    for protocol in ["h2", "http/1.1"] {
        let client = Client::new(&authority, None).alpn(protocol);
        let stream = client.connect(&server).await.unwrap();
        let chosen = stream.get_ref().1.alpn_protocol();
        assert_eq!(chosen, Some(protocol.as_bytes()));
    }
    let client = Client::new(&authority, None).alpn("h2");
    let stream = client.connect(&server).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
}

#[tokio::test]
async fn optional_client_certificates_are_verified_if_there_are_any() {
    let (authority, other) = (Authority::new(), Authority::new());
    let tls = authority
        .tls()
        .optional_client_certificates(authority.certificate.as_bytes());
    let server = TlsServer::start(Server::new(), tls.unwrap()).await;
    let response = Client::new(&authority, None).get(&server).await.unwrap();
    assert!(response.ends_with("0 certificates"), "{response}");
    let known = authority.issue();
    let response = Client::new(&authority, Some(&known)).get(&server).await;
    let response = response.unwrap();
    assert!(response.ends_with("1 certificates"), "{response}");
    let unknown = other.issue();
    let rejected = Client::new(&authority, Some(&unknown)).get(&server).await;
    assert!(rejected.is_err(), "{rejected:?}");
}

#[tokio::test]
async fn required_client_certificates_are_required() {
    let authority = Authority::new();
    let tls = authority
        .tls()
        .required_client_certificates(authority.certificate.as_bytes());
    let server = TlsServer::start(Server::new(), tls.unwrap()).await;
    let rejected = Client::new(&authority, None).get(&server).await;
    assert!(rejected.is_err(), "{rejected:?}");
    let own = authority.issue();
    let response = Client::new(&authority, Some(&own)).get(&server).await;
    assert!(response.unwrap().ends_with("1 certificates"));
}

#[tokio::test]
async fn a_certificate_is_replaced_while_the_server_serves() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = TlsServer::start(Server::new(), old.tls()).await;
    assert!(Client::new(&old, None).get(&server).await.is_ok());
    assert!(Client::new(&new, None).get(&server).await.is_err());
    server.handle.reload(new.tls());
    assert!(Client::new(&new, None).get(&server).await.is_ok());
    assert!(Client::new(&old, None).get(&server).await.is_err());
}

#[tokio::test]
async fn a_handshake_has_a_limit_and_delays_no_other_connection() {
    let authority = Authority::new();
    let server = Server::new().handshake_timeout(2 * SHORT).unwrap();
    let server = TlsServer::start(server, authority.tls()).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let _ = Client::new(&authority, None).get(&server).await;
    assert_eq!(read_to_close(&mut silent).await, "");
}

#[tokio::test]
async fn a_handshake_does_not_hold_up_the_drain() {
    let authority = Authority::new();
    let server = Server::new()
        .handshake_timeout(Duration::from_secs(300))
        .unwrap();
    let server = TlsServer::start(server, authority.tls()).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert!(Client::new(&authority, None).get(&server).await.is_ok());
    server.stop.send(()).unwrap();
    assert_eq!(soon(server.task).await.unwrap(), Drained::Complete);
    assert_eq!(read_to_close(&mut silent).await, "");
}

#[test]
fn unusable_certificates_are_errors() {
    let authority = Authority::new();
    let Certificate { chain, key } = authority.issue();
    let other = authority.issue().key;
    for (chain, key, name) in [
        ("", &*key, "the certificate chain"),
        ("nonsense", &key, "the certificate chain"),
        (&chain, "", "the private key"),
        (&chain, &chain, "the private key"),
        (&chain, &other, "the certificate and its key"),
    ] {
        let error = Tls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot use {name}"));
        assert!(error.source().is_some());
    }
    let error = authority.tls().required_client_certificates(b"");
    assert_eq!(
        error.unwrap_err().to_string(),
        "cannot use the authorities of clients"
    );
}
