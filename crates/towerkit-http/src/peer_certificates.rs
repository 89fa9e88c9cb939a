use std::sync::Arc;

/// The certificates by which the client of a request authenticated itself, in the extensions of the request.
///
/// A server inserts them after TLS has verified them, as `towerkit-server` does: they are there if the client sent certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificates(Arc<[Box<[u8]>]>);

impl PeerCertificates {
    /// Makes the value of a verified chain in [DER], with the certificate of the client first.
    ///
    /// [DER]: https://www.itu.int/rec/T-REC-X.690
    #[must_use]
    pub fn new<C: AsRef<[u8]>>(chain: impl IntoIterator<Item = C>) -> Self {
        let chain = chain
            .into_iter()
            .map(|certificate| certificate.as_ref().into());
        Self(chain.collect())
    }

    /// Returns the chain in [DER], with the certificate of the client first.
    ///
    /// [DER]: https://www.itu.int/rec/T-REC-X.690
    pub fn chain(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.iter().map(AsRef::as_ref)
    }
}
