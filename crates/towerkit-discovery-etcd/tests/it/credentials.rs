use std::time::Duration;

use etcd_client::{Permission, PermissionType};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::time::sleep;
use towerkit_discovery::{Discovery, DiscoveryOptions, Registrar, conformance::ServerProcess};
use towerkit_discovery_etcd::{Etcd, EtcdTls};
use towerkit_programs::Program;

use crate::server::{HEALTH, command, etcd, instance, raw, start, until, until_addresses};

/// Lets `ann` use the service `addsvc`, and turns authentication on.
async fn require_users(server: &ServerProcess) {
    let mut root = raw(server).await;
    root.user_add("root", "root-password", None).await.unwrap();
    root.user_grant_role("root", "root").await.unwrap();
    root.role_add("services").await.unwrap();
    let permission = Permission::new(PermissionType::Readwrite, "/services/addsvc/");
    root.role_grant_permission("services", permission.with_prefix())
        .await
        .unwrap();
    root.user_add("ann", "ann-password", None).await.unwrap();
    root.user_grant_role("ann", "services").await.unwrap();
    root.auth_enable().await.unwrap();
}

/// SD-16
#[tokio::test]
#[ignore = "needs etcd"]
async fn users_log_in_and_a_wrong_password_is_an_error_without_the_password() {
    let server = start("etcd").await;
    require_users(&server).await;
    let ann = etcd(&server).user("ann", "ann-password");
    let discovery = Discovery::spawn(ann.service("addsvc").unwrap());
    let registration =
        Registrar::new(ann.service("addsvc").unwrap(), instance("10.0.0.1:80")).spawn();
    until_addresses(&discovery, &["10.0.0.1:80"]).await;
    registration.stop(Duration::from_secs(5)).await;
    until_addresses(&discovery, &[]).await;

    let wrong = etcd(&server).user("ann", "canary-password");
    let nobody = etcd(&server);
    for (client, expected) in [
        (&wrong, "authentication failed"),
        (&nobody, "user name is empty"),
    ] {
        let (events, received) = std::sync::mpsc::channel();
        let discovery = DiscoveryOptions::new()
            .events(move |event: &towerkit_core::Event| drop(events.send(format!("{event:?}"))))
            .spawn(client.service("addsvc").unwrap());
        let snapshot = until(&discovery, |snapshot| snapshot.status.error().is_some()).await;
        let error = snapshot.status.error().unwrap();
        assert!(error.to_string().contains(expected), "{error}");
        let shown = format!("{error} {error:?} {:?}", received.recv().unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }
    // What the user may not see is an error, and no empty set.
    let forbidden = Discovery::spawn(ann.service("stringsvc").unwrap());
    let snapshot = until(&forbidden, |snapshot| snapshot.status.error().is_some()).await;
    assert!(
        snapshot
            .status
            .error()
            .unwrap()
            .to_string()
            .contains("permission denied")
    );
    // And no reason for others on the client to connect again.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(discovery.current().status.as_str(), "current");
}

/// A token that has expired is made anew: between two renewals of a registration, and while a watch goes on.
#[tokio::test]
#[ignore = "needs etcd-3.5"]
async fn a_token_that_has_expired_is_made_anew() {
    let server = ServerProcess::start(HEALTH, |files| {
        let client = format!("http://127.0.0.1:{}", files.ports[0]);
        let mut command = command("etcd-3.5", files, &client);
        command.args(["--auth-token-ttl", "1"]);
        command
    })
    .await;
    require_users(&server).await;
    let ann = etcd(&server).user("ann", "ann-password");
    let service = || ann.service("addsvc").unwrap();
    let service_for = |ttl| service().ttl(Duration::from_secs(ttl)).unwrap();
    let registration = Registrar::new(service_for(9), instance("10.0.0.1:80")).spawn();
    let discovery = Discovery::spawn(service());
    until_addresses(&discovery, &["10.0.0.1:80"]).await;
    let (failures, failed) = std::sync::mpsc::channel();
    let subscription = discovery.subscribe(move |snapshot| {
        if snapshot.status.error().is_some() || snapshot.instances.is_empty() {
            let _ = failures.send(snapshot.clone());
        }
    });
    sleep(Duration::from_secs(12)).await;
    assert_eq!(registration.status().as_str(), "registered");
    assert!(failed.try_recv().is_err());
    // A change is still seen.
    let second = Registrar::new(service(), instance("10.0.0.2:80")).spawn();
    until_addresses(&discovery, &["10.0.0.1:80", "10.0.0.2:80"]).await;
    drop((subscription, second));
}

/// SD-16: a client certificate with a common name, which the JSON gateway of etcd would refuse.
#[tokio::test]
#[ignore = "needs etcd"]
async fn certificates_of_both_sides_are_checked() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (server_certificate, server_key) = authority.issue("server");
    let certificates = Program::new("certificates");
    let files = [
        (
            "--trusted-ca-file",
            certificates.file("ca.pem", &authority.certificate),
        ),
        (
            "--cert-file",
            certificates.file("server.pem", &server_certificate),
        ),
        ("--key-file", certificates.file("server.key", &server_key)),
    ];
    let server = ServerProcess::start(HEALTH, move |server| {
        let client = format!("https://127.0.0.1:{}", server.ports[2]);
        let mut command = command("etcd", server, &client);
        let health = format!("http://127.0.0.1:{}", server.ports[0]);
        command.args(["--client-cert-auth", "--listen-metrics-urls", &health]);
        for (flag, file) in &files {
            command.args([*flag, file]);
        }
        command
    })
    .await;
    let url = format!("https://localhost:{}", server.files().ports[2]);
    let client = |tls: EtcdTls| Etcd::new([&url]).unwrap().tls(tls);
    let trusting = || EtcdTls::new(&authority.certificate);
    let (certificate, key) = authority.issue("ann");

    let allowed = client(trusting().identity(&certificate, &key));
    let discovery = Discovery::spawn(allowed.service("addsvc").unwrap());
    let registration =
        Registrar::new(allowed.service("addsvc").unwrap(), instance("10.0.0.1:80")).spawn();
    until_addresses(&discovery, &["10.0.0.1:80"]).await;
    registration.stop(Duration::from_secs(5)).await;

    let (foreign, foreign_key) = other.issue("ann");
    for (what, tls) in [
        ("no certificate", trusting()),
        (
            "a certificate of another authority",
            trusting().identity(&foreign, &foreign_key),
        ),
        (
            "a server of another authority",
            EtcdTls::new(&other.certificate).identity(&certificate, &key),
        ),
        (
            "a server of another name",
            trusting().identity(&certificate, &key).server_name("other"),
        ),
        (
            "a key that is none",
            trusting().identity(&certificate, "canary"),
        ),
    ] {
        let client = client(tls.clone());
        let discovery = Discovery::spawn(client.service("addsvc").unwrap());
        let snapshot = until(&discovery, |snapshot| snapshot.status.error().is_some()).await;
        let error = snapshot.status.error().unwrap();
        println!("{what}: {error}");
        let shown = format!("{error} {error:?} {client:?} {tls:?}");
        assert!(
            !shown.contains("canary") && !shown.contains("PRIVATE"),
            "{shown}"
        );
    }
}

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Issues a certificate of `localhost` with a common name; returns it with its key.
    fn issue(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}
