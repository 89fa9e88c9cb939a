use towerkit_core::Call;

/// Says whose quota a call takes from.
///
/// Any `Fn(&Call<'_, Req>) -> Option<&str>` does. Calls without a key share one quota.
pub trait KeyOf<Req> {
    /// Returns the key of a call.
    fn key<'a>(&self, call: &'a Call<'_, Req>) -> Option<&'a str>;
}

impl<Req, F> KeyOf<Req> for F
where
    F: for<'a> Fn(&'a Call<'_, Req>) -> Option<&'a str>,
{
    #[inline(always)]
    fn key<'a>(&self, call: &'a Call<'_, Req>) -> Option<&'a str> {
        self(call)
    }
}

/// One quota for all calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct OneKey;

impl<Req> KeyOf<Req> for OneKey {
    #[inline(always)]
    fn key<'a>(&self, _call: &'a Call<'_, Req>) -> Option<&'a str> {
        None
    }
}
