/// Decides if a request is idempotent, so that it may be sent more than once.
///
/// Every function of the request is one, see [`RetryLayer::idempotent_if`](crate::RetryLayer::idempotent_if).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot decide if a request of type `{Req}` is idempotent",
    note = "give the closure the type of the request: `.idempotent_if(|request: &Request<_>| ..)`"
)]
pub trait Idempotence<Req> {
    /// Returns true if the request is idempotent; `by_protocol` is the answer of the protocol, if it has one.
    fn is_idempotent(&self, request: &Req, by_protocol: Option<bool>) -> bool;
}

/// Takes the answer of the protocol: over HTTP, the idempotent methods of [RFC 9110, section 9.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2).
#[derive(Debug, Clone, Copy, Default)]
pub struct ByProtocol;

impl<Req> Idempotence<Req> for ByProtocol {
    #[inline(always)]
    fn is_idempotent(&self, _request: &Req, by_protocol: Option<bool>) -> bool {
        by_protocol == Some(true)
    }
}

/// Takes every request for idempotent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Always;

impl<Req> Idempotence<Req> for Always {
    #[inline(always)]
    fn is_idempotent(&self, _request: &Req, _by_protocol: Option<bool>) -> bool {
        true
    }
}

impl<Req, F: Fn(&Req) -> bool> Idempotence<Req> for F {
    #[inline(always)]
    fn is_idempotent(&self, request: &Req, _by_protocol: Option<bool>) -> bool {
        self(request)
    }
}
