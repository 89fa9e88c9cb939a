//! Client certificates.

use rcgen::{CertificateParams, KeyPair, SanType};
use towerkit_auth::ClientCertificateAuth;
use towerkit_http::PeerCertificates;

use super::*;

fn certificate(names: Vec<SanType>) -> PeerCertificates {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    PeerCertificates::new([certificate.der()])
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

async fn answer(layer: &AuthLayer, certificates: Option<PeerCertificates>) -> Answer {
    let mut request = get("/", &[]);
    if let Some(certificates) = certificates {
        request.extensions_mut().insert(certificates);
    }
    send(layer, request).await
}

#[tokio::test]
async fn the_subject_is_the_spiffe_id() {
    let layer = AuthLayer::new(ClientCertificateAuth::spiffe("example.org").unwrap());
    let id = "spiffe://example.org/billing";
    let admitted = answer(&layer, Some(certificate(vec![dns("a.example"), uri(id)]))).await;
    assert_eq!(admitted.body, id);
    for bad in [
        vec![],
        vec![dns("example.org")],
        vec![uri("spiffe://example.com/billing")],
        vec![uri(id), uri("spiffe://example.org/admin")],
        vec![uri(id), uri("https://example.org/")],
    ] {
        let rejected = answer(&layer, Some(certificate(bad))).await;
        assert_eq!(rejected.status, StatusCode::UNAUTHORIZED);
        assert_eq!(
            rejected.challenges,
            [r#"ClientCertificate realm="example.org""#]
        );
    }
    let garbage = PeerCertificates::new([b"garbage"]);
    assert_eq!(
        answer(&layer, Some(garbage)).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(layer.handle().snapshot().invalid, 6);
    assert_eq!(answer(&layer, None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(layer.handle().snapshot().missing, 1);
}

#[tokio::test]
async fn the_subject_is_the_first_dns_name() {
    let layer = AuthLayer::new(ClientCertificateAuth::dns_name("shop").unwrap());
    let names = vec![
        uri("spiffe://example.org/a"),
        dns("billing.example"),
        dns("b.example"),
    ];
    assert_eq!(
        answer(&layer, Some(certificate(names))).await.body,
        "billing.example"
    );
    let rejected = answer(&layer, Some(certificate(vec![uri("https://a/")]))).await;
    assert_eq!(rejected.status, StatusCode::UNAUTHORIZED);
}
