//! TLS: trusted, untrusted and client certificates.

use std::{fs, path::Path, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use towerkit_core::RejectionReason;
use towerkit_programs::free_port;
use towerkit_ratelimit_redis::{
    RedisRateLimitLayer,
    redis::{Client, ClientTlsConfig, TlsCertificates},
};

use super::{call, quota, server::Server, service};

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
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

    /// Issues a certificate for `localhost`; returns it with its key.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// Starts a server with a TLS port, which requires client certificates if `strict`.
fn start(authority: &Authority, strict: bool) -> (Server, u16) {
    let port = free_port();
    let server = Server::with(|folder: &Path| {
        let (certificate, key) = authority.issue();
        let write = |name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap();
            folder.join(name).display().to_string()
        };
        let arguments = [
            ("--tls-port", port.to_string()),
            ("--tls-ca-cert-file", write("ca", &authority.certificate)),
            ("--tls-cert-file", write("certificate", &certificate)),
            ("--tls-key-file", write("key", &key)),
            (
                "--tls-auth-clients",
                if strict { "yes" } else { "no" }.to_owned(),
            ),
        ];
        arguments
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect()
    });
    (server, port)
}

async fn is_admitted(port: u16, authority: &Authority, client: Option<(String, String)>) -> bool {
    let certificates = TlsCertificates {
        client_tls: client.map(|(certificate, key)| ClientTlsConfig {
            client_cert: certificate.into_bytes(),
            client_key: key.into_bytes(),
        }),
        root_cert: Some(authority.certificate.clone().into_bytes()),
    };
    let client =
        Client::build_with_tls(format!("rediss://localhost:{port}"), certificates).unwrap();
    let layer = RedisRateLimitLayer::new(client, quota(1000, 100))
        .unwrap()
        .timeout(Duration::from_secs(1))
        .unwrap()
        .fail_closed();
    let service = service(&layer);
    match call(&service, "Ann").await {
        Ok(()) => true,
        Err(rejected) => {
            assert_eq!(rejected.reason(), RejectionReason::Unavailable);
            false
        }
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_with_a_trusted_certificate_is_accepted() {
    let authority = Authority::new();
    let (_server, port) = start(&authority, false);
    assert!(is_admitted(port, &authority, None).await);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_with_an_untrusted_certificate_is_refused() {
    let (_server, port) = start(&Authority::new(), false);
    assert!(!is_admitted(port, &Authority::new(), None).await);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_requires_a_client_certificate_gets_it() {
    let authority = Authority::new();
    let (_server, port) = start(&authority, true);
    assert!(is_admitted(port, &authority, Some(authority.issue())).await);
    assert!(!is_admitted(port, &authority, None).await);
}
