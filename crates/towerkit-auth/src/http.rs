use http::Extensions;
use rustls_pki_types::CertificateDer;
use towerkit_core::{Admission, CallView, ConfigError, Principal, Proof};
use towerkit_http::PeerCertificates;
use webpki::EndEntityCert;

use crate::{AuthError, AuthFuture, Authenticator, Challenge};

/// Authenticates calls by the certificate of the client, which TLS has verified.
///
/// The certificates are [`PeerCertificates`] in the extensions of the request: `towerkit-server` inserts them if its TLS settings
/// have authorities of clients. A call over a connection without a client certificate has no credentials of this scheme.
///
/// The challenge has the scheme `ClientCertificate`, which is not registered with IANA: RFC 9110 requires a challenge, and no
/// registered scheme says this.
#[derive(Debug)]
pub struct ClientCertificateAuth {
    challenge: Challenge,
    subject: SubjectName,
}

#[derive(Debug)]
enum SubjectName {
    /// Has the prefix that ids of the trust domain have.
    Spiffe(Box<str>),
    DnsName,
}

/// The limit of an id, in bytes (SPIFFE-ID, section 2.3).
const MAX_SPIFFE_ID: usize = 2048;

impl ClientCertificateAuth {
    /// Takes the [SPIFFE id](https://spiffe.io/docs/latest/spiffe-specs/x509-svid/) of the certificate as the subject, such as
    /// `spiffe://example.org/billing`.
    ///
    /// The certificate has exactly one URI, an id of this trust domain.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the trust domain is not one, such as `example.org`.
    pub fn spiffe(trust_domain: &str) -> Result<Self, ConfigError> {
        let is_valid =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if !(1..=255).contains(&trust_domain.len()) || !trust_domain.bytes().all(is_valid) {
            let expected = "a name of lower-case letters, digits, dots, dashes and underscores";
            return Err(ConfigError::new("trust domain", trust_domain, expected));
        }
        Ok(Self {
            challenge: Challenge::new("ClientCertificate", trust_domain)?,
            subject: SubjectName::Spiffe(format!("spiffe://{trust_domain}/").into()),
        })
    }

    /// Takes the first DNS name of the certificate as the subject, such as `billing.example.org`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the realm has characters other than printable ASCII.
    pub fn dns_name(realm: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            challenge: Challenge::new("ClientCertificate", realm)?,
            subject: SubjectName::DnsName,
        })
    }

    fn find(&self, call: CallView<'_>) -> Result<Principal, AuthError> {
        let extensions = call.part::<Extensions>();
        let certificates = extensions.and_then(Extensions::get::<PeerCertificates>);
        let first = certificates.and_then(|certificates| certificates.chain().next());
        let certificate = CertificateDer::from(first.ok_or_else(AuthError::missing)?);
        let certificate = EndEntityCert::try_from(&certificate)
            .map_err(|_| AuthError::invalid("a certificate that cannot be read"))?;
        let subject = match &self.subject {
            SubjectName::Spiffe(prefix) => {
                let mut names = certificate.valid_uri_names();
                let id = names.next().filter(|_| names.next().is_none());
                id.filter(|id| is_spiffe_id(id, prefix))
            }
            SubjectName::DnsName => certificate.valid_dns_names().next(),
        };
        let subject =
            subject.ok_or_else(|| AuthError::invalid("a certificate without the name"))?;
        Ok(Principal::new(subject, Proof::ClientCertificate))
    }
}

/// Returns true for an id of the trust domain with a path (SPIFFE-ID, section 2.2).
fn is_spiffe_id(id: &str, prefix: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_segment =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_valid);
    let path = id.strip_prefix(prefix);
    id.len() <= MAX_SPIFFE_ID && path.is_some_and(|path| path.split('/').all(is_segment))
}

impl Authenticator for ClientCertificateAuth {
    fn authenticate(
        &self,
        call: CallView<'_>,
    ) -> Result<Admission<Principal, AuthFuture<Principal>>, AuthError> {
        self.find(call).map(Admission::Now)
    }

    fn challenge(&self) -> Option<&Challenge> {
        Some(&self.challenge)
    }
}

#[cfg(feature = "basic")]
mod client {
    use http::{Extensions, HeaderMap};
    use towerkit_http::ClientAddress;

    use crate::BasicAuth;

    impl BasicAuth {
        /// Tells the clients, which take turns, apart by the address behind trusted proxies; by the peer of the connection by default.
        #[must_use]
        pub fn client_address(self, address: ClientAddress) -> Self {
            self.find_client(move |call| {
                address.find_network(call.part::<HeaderMap>()?, call.part::<Extensions>()?)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_other_domains_and_malformed_ids_are_refused() {
        let is_id = |id| is_spiffe_id(id, "spiffe://example.org/");
        assert!(is_id("spiffe://example.org/ns/prod/billing-v1_2.3"));
        for bad in [
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org//a",
            "spiffe://example.org/../a",
            "spiffe://example.org/a?b",
            "spiffe://example.org/%61",
            "spiffe://example.org.evil/a",
            "spiffe://evil/example.org/a",
            "https://example.org/a",
            &format!("spiffe://example.org/{}", "a".repeat(2048)),
        ] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
