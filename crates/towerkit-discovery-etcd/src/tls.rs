use std::fmt;

use etcd_client::{Certificate, Identity, TlsOptions};

use crate::Etcd;

/// The certificates of connections to `https://` endpoints, in PEM.
#[derive(Clone)]
pub struct EtcdTls(TlsOptions);

impl EtcdTls {
    /// Trusts the certificates of servers that this authority has signed.
    #[must_use]
    pub fn new(ca_certificates: impl AsRef<[u8]>) -> Self {
        let authority = Certificate::from_pem(ca_certificates);
        Self(TlsOptions::new().ca_certificate(authority))
    }

    /// Sets the certificate and the private key of this client.
    #[must_use]
    pub fn identity(self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        Self(self.0.identity(Identity::from_pem(certificate, key)))
    }

    /// Sets the name that the certificate of a server must have. Default: the host of its URL.
    #[must_use]
    pub fn server_name(self, name: impl Into<String>) -> Self {
        Self(self.0.domain_name(name))
    }
}

impl fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdTls").finish_non_exhaustive()
    }
}

impl Etcd {
    /// Sets the certificates. All endpoints are `https://` then.
    #[must_use]
    pub fn tls(self, tls: EtcdTls) -> Self {
        let options = self.options().clone().with_tls(tls.0);
        self.with_options(options)
    }
}
