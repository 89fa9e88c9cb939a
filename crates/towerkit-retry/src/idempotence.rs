/// Says which requests may be sent twice.
///
/// Any function of the request does, see [`RetryLayer::idempotent_if`](crate::RetryLayer::idempotent_if).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say of a request of type `{Req}` whether it is idempotent",
    note = "give the closure the type of the request: `.idempotent_if(|request: &Request<_>| ..)`"
)]
pub trait Idempotence<Req> {
    /// Whether sending the request twice does the same as sending it once; `said` is what the protocol says.
    fn is_idempotent(&self, request: &Req, said: Option<bool>) -> bool;
}

/// Those that the protocol calls idempotent: over HTTP by their method.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByProtocol;

impl<Req> Idempotence<Req> for ByProtocol {
    #[inline(always)]
    fn is_idempotent(&self, _request: &Req, said: Option<bool>) -> bool {
        said == Some(true)
    }
}

/// All of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Always;

impl<Req> Idempotence<Req> for Always {
    #[inline(always)]
    fn is_idempotent(&self, _request: &Req, _said: Option<bool>) -> bool {
        true
    }
}

impl<Req, F: Fn(&Req) -> bool> Idempotence<Req> for F {
    #[inline(always)]
    fn is_idempotent(&self, request: &Req, _said: Option<bool>) -> bool {
        self(request)
    }
}
