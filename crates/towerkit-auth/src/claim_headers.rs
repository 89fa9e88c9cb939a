/// The names of request headers that claim a principal, and that are removed from each call.
#[derive(Debug, Clone)]
pub(crate) struct ClaimHeaders {
    /// In lower case, with `-` for `_`: many servers behind a proxy do not tell the two apart.
    names: Box<[Box<str>]>,
    /// Has a bit for each length below 64 that a name has.
    lengths: u64,
}

/// The names that common proxies use: oauth2-proxy, Apache, Authelia, Grafana, Envoy, nginx, Traefik.
const DEFAULT: [&str; 28] = [
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "ssl-client-cert",
    "ssl-client-verify",
    "x-auth-request-access-token",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-user",
    "x-authenticated-scope",
    "x-authenticated-user",
    "x-authenticated-userid",
    "x-client-cert",
    "x-forwarded-access-token",
    "x-forwarded-client-cert",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-tls-client-cert",
    "x-forwarded-user",
    "x-remote-group",
    "x-remote-groups",
    "x-remote-user",
    "x-ssl-client-cert",
    "x-ssl-client-verify",
    "x-webauth-user",
];

impl ClaimHeaders {
    pub(crate) fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let names = names
            .into_iter()
            .map(|name| normal(name.as_ref()).collect());
        let names: Box<[Box<str>]> = names.map(String::into_boxed_str).collect();
        let lengths = names.iter().fold(0, |bits, name| bits | bit(name.len()));
        Self { names, lengths }
    }

    /// Returns true if a header with this name is removed.
    #[inline]
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.lengths & bit(name.len()) != 0 && self.has(name)
    }

    fn has(&self, name: &str) -> bool {
        let mut names = self.names.iter();
        names.any(|own| own.len() == name.len() && own.chars().eq(normal(name)))
    }
}

impl Default for ClaimHeaders {
    fn default() -> Self {
        Self::new(DEFAULT)
    }
}

/// Names of 63 bytes and more share a bit.
fn bit(length: usize) -> u64 {
    1 << length.min(63)
}

fn normal(name: &str) -> impl Iterator<Item = char> {
    name.chars().map(|c| match c {
        '_' => '-',
        c => c.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_every_spelling() {
        let default = ClaimHeaders::default();
        for name in [
            "x-forwarded-user",
            "X-Remote-User",
            "x_forwarded_user",
            "remote-user",
        ] {
            assert!(default.contains(name), "{name}");
        }
        for name in [
            "x-forwarded-for",
            "authorization",
            "x-forwarded-users",
            "",
            "host",
        ] {
            assert!(!default.contains(name), "{name}");
        }
        let long = "x-".to_owned() + &"a".repeat(100);
        let own = ClaimHeaders::new([&*long]);
        assert!(own.contains(&long) && !own.contains("x-forwarded-user"));
    }
}
