use std::{fmt, hash::Hash};

use towerkit_core::{Call, Principal};

/// Extracts the key of a call: the caller, tenant or host that the call is counted for.
///
/// Implemented by functions from [`&Call<'_, Req>`](Call) to `Option<K>`, where `K` implements [`Hash`], and by [`ByHeader`],
/// [`ByText`], [`ByPrincipal`], [`NoKey`] and, with the feature `http`, `ByClientAddress`. The [crate documentation](crate) shows an implementation of your own.
///
/// A layer hashes the key and does not store it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not extract keys from calls with the request `{Req}`",
    label = "not a key extractor for `{Req}`",
    note = "pass `|call: &Call<'_, {Req}>| Some(key)`, `ByText::new(..)` for borrowed text, `ByHeader::new(\"..\")` or `ByClientAddress`"
)]
pub trait KeyExtractor<Req> {
    /// The type of the key, such as [`str`] or a number.
    type Key: Hash + ?Sized;

    /// True if a layer rejects a call without a key as [`Unavailable`](towerkit_core::RejectionReason::Unavailable), because the
    /// missing key is an error of the server's configuration; false by default.
    const REQUIRED: bool = false;

    /// Calls `f` with the key of the call, or with `None` if the call has no key.
    ///
    /// The key is passed to a function so that it can borrow from the call.
    fn with_key<T>(&self, call: &Call<'_, Req>, f: impl FnOnce(Option<&Self::Key>) -> T) -> T;
}

impl<Req, F, K> KeyExtractor<Req> for F
where
    F: Fn(&Call<'_, Req>) -> Option<K>,
    K: Hash,
{
    type Key = K;

    #[inline(always)]
    fn with_key<T>(&self, call: &Call<'_, Req>, f: impl FnOnce(Option<&K>) -> T) -> T {
        f(self(call).as_ref())
    }
}

/// Extracts the value of a request header, such as an API key, or of a gRPC metadata entry.
///
/// A call without the header, or with a value that is not text, has no key.
///
/// Clients choose the headers that they send: authenticate the value in a layer outside of the one that uses the key.
#[derive(Debug, Clone, Copy)]
pub struct ByHeader(&'static str);

impl ByHeader {
    /// Extracts the header `name`, in lower case such as `x-api-key`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }
}

impl<Req> KeyExtractor<Req> for ByHeader {
    type Key = str;

    #[inline(always)]
    fn with_key<T>(&self, call: &Call<'_, Req>, f: impl FnOnce(Option<&str>) -> T) -> T {
        f(call.header(self.0))
    }
}

/// Extracts text that a function finds in the call, without copying it.
#[derive(Clone, Copy)]
pub struct ByText<F>(F);

impl<F> ByText<F> {
    /// Extracts the text that `find` returns.
    #[must_use]
    pub const fn new<Req>(find: F) -> Self
    where
        F: for<'a> Fn(&'a Call<'_, Req>) -> Option<&'a str>,
    {
        Self(find)
    }
}

impl<Req, F> KeyExtractor<Req> for ByText<F>
where
    F: for<'a> Fn(&'a Call<'_, Req>) -> Option<&'a str>,
{
    type Key = str;

    #[inline(always)]
    fn with_key<T>(&self, call: &Call<'_, Req>, f: impl FnOnce(Option<&str>) -> T) -> T {
        f((self.0)(call))
    }
}

impl<F> fmt::Debug for ByText<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByText").finish_non_exhaustive()
    }
}

/// Extracts the subject of the [`Principal`](towerkit_core::Principal) that an outer layer has authenticated.
///
/// A call without a principal has no key. Subjects are unique for one issuer: if there are several, pass a function that reads
/// [`Call::principal`] and returns both.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByPrincipal;

impl<Req> KeyExtractor<Req> for ByPrincipal {
    type Key = str;

    #[inline(always)]
    fn with_key<T>(&self, call: &Call<'_, Req>, f: impl FnOnce(Option<&str>) -> T) -> T {
        f(call.principal().map(Principal::subject))
    }
}

/// Extracts no key: all calls share one state.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKey;

impl<Req> KeyExtractor<Req> for NoKey {
    type Key = str;

    #[inline(always)]
    fn with_key<T>(&self, _call: &Call<'_, Req>, f: impl FnOnce(Option<&str>) -> T) -> T {
        f(None)
    }
}
