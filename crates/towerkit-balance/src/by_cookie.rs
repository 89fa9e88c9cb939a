use towerkit_core::Call;
use towerkit_keyed::KeyExtractor;

/// Extracts the value of a cookie, such as the id of a session, as the key of [`Maglev`](crate::Maglev).
///
/// A call has no key if it has no such cookie. The value is compared as it is in the header
/// [`Cookie`](https://www.rfc-editor.org/rfc/rfc6265#section-5.4), with quotes if there are any.
///
/// ```
/// use towerkit_balance::{ByCookie, Maglev};
///
/// let sticky = Maglev::new(ByCookie::new("session"));
/// # let _ = sticky;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ByCookie(&'static str);

impl ByCookie {
    /// Extracts the cookie `name`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    fn find(self, header: &[u8]) -> Option<&[u8]> {
        header.split(|byte| *byte == b';').find_map(|pair| {
            let value = pair.trim_ascii().strip_prefix(self.0.as_bytes())?;
            value.strip_prefix(b"=")
        })
    }
}

impl<Req> KeyExtractor<Req> for ByCookie {
    type Key = [u8];

    fn with_key<T>(&self, call: &Call<'_, Req>, f: impl FnOnce(Option<&[u8]>) -> T) -> T {
        let mut found = None;
        // HTTP/2 may split cookies over several headers.
        call.header_values("cookie", &mut |header| found = found.or(self.find(header)));
        f(found)
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let cookie = ByCookie::new("id");
        for (header, value) in [
            ("id=7", Some("7")),
            ("a=b; id=7; c", Some("7")),
            ("a=b;id=7;id=8", Some("7")),
            ("id=", Some("")),
            ("id=\"a=b\"", Some("\"a=b\"")),
            ("paid=7; idle=8", None),
            ("id", None),
            ("", None),
        ] {
            let found = cookie.find(header.as_bytes());
            assert_eq!(found, value.map(str::as_bytes), "{header}");
        }
    }
}
