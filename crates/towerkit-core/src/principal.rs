use std::{any::Any, fmt, sync::Arc};

/// The authenticated caller of a call: a user, a service or an API client.
///
/// A layer that authenticates calls, such as that of `towerkit-auth`, attaches it to the request. Inner layers read it by
/// [`Call::principal`](crate::Call::principal): an authorizer, a limit by key, a field of the log. A handler finds it in the extensions of
/// the request. Clones share the contents and do not allocate.
///
/// A principal contains no credentials. [`Debug`](fmt::Debug) shows the subject, the scopes and the roles, but not the claims.
///
/// ```
/// use towerkit_core::{Principal, Proof};
///
/// struct Claims { tenant: String }
///
/// let claims = Claims { tenant: "acme".to_owned() };
/// let ann = Principal::new("ann", Proof::BearerToken).with_scopes(["orders:read"]).with_roles(["clerk"]).with_claims(claims);
/// assert_eq!(ann.subject(), "ann");
/// assert!(ann.has_scope("orders:read") && !ann.has_scope("orders:write"));
/// assert!(ann.has_role("clerk"));
/// assert_eq!(ann.claims::<Claims>().unwrap().tenant, "acme");
/// ```
#[derive(Clone)]
pub struct Principal(Arc<Parts>);

/// The kind of credentials by which a [`Principal`] was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Proof {
    /// A user name and a password ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
    Password,
    /// A bearer token ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)).
    BearerToken,
    /// An API key.
    ApiKey,
    /// A certificate of the client, verified by TLS.
    ClientCertificate,
    /// Credentials of another kind, by its name in `snake_case`.
    Other(&'static str),
}

#[derive(Clone)]
struct Parts {
    subject: Box<str>,
    issuer: Option<Box<str>>,
    proof: Proof,
    scopes: Box<[Box<str>]>,
    roles: Box<[Box<str>]>,
    claims: Option<Arc<dyn Any + Send + Sync>>,
}

impl Principal {
    /// Makes a principal without scopes and roles.
    ///
    /// The subject identifies the caller, such as a user name or the claim `sub` of a token. It appears in logs.
    #[must_use]
    pub fn new(subject: impl Into<Box<str>>, proof: Proof) -> Self {
        Self(Arc::new(Parts {
            subject: subject.into(),
            issuer: None,
            proof,
            scopes: Box::default(),
            roles: Box::default(),
            claims: None,
        }))
    }

    /// Sets the authority that vouches for the subject, such as the claim `iss` of a token.
    #[must_use]
    pub fn with_issuer(self, issuer: impl Into<Box<str>>) -> Self {
        self.with(|parts| parts.issuer = Some(issuer.into()))
    }

    /// Sets the scopes that the credentials grant.
    #[must_use]
    pub fn with_scopes<T: Into<Box<str>>>(self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.with(|parts| parts.scopes = scopes.into_iter().map(Into::into).collect())
    }

    /// Sets the roles of the caller.
    #[must_use]
    pub fn with_roles<T: Into<Box<str>>>(self, roles: impl IntoIterator<Item = T>) -> Self {
        self.with(|parts| parts.roles = roles.into_iter().map(Into::into).collect())
    }

    /// Sets the claims: one value of any type, such as the claims of a token.
    #[must_use]
    pub fn with_claims<T: Send + Sync + 'static>(self, claims: T) -> Self {
        self.with(|parts| parts.claims = Some(Arc::new(claims)))
    }

    fn with(mut self, set: impl FnOnce(&mut Parts)) -> Self {
        set(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns the subject, which identifies the caller within its [issuer](Self::issuer).
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Returns the authority that vouches for the subject, if there is one.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.issuer.as_deref()
    }

    /// Returns the kind of credentials by which the caller was authenticated.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.0.proof
    }

    /// Returns the scopes that the credentials grant.
    pub fn scopes(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.scopes.iter().map(AsRef::as_ref)
    }

    /// Returns the roles of the caller.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.roles.iter().map(AsRef::as_ref)
    }

    /// Returns true if the credentials grant this scope.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|own| own == scope)
    }

    /// Returns true if the caller has this role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().any(|own| own == role)
    }

    /// Returns the claims, if there are any and they have this type.
    #[must_use]
    pub fn claims<T: 'static>(&self) -> Option<&T> {
        self.0.claims.as_deref()?.downcast_ref()
    }
}

impl Proof {
    /// Returns the kind in `snake_case`, for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::BearerToken => "bearer_token",
            Self::ApiKey => "api_key",
            Self::ClientCertificate => "client_certificate",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("subject", &self.0.subject)
            .field("issuer", &self.0.issuer)
            .field("proof", &self.0.proof)
            .field("scopes", &self.0.scopes)
            .field("roles", &self.0.roles)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_claims() {
        let ann = Principal::new("ann", Proof::Other("kerberos")).with_claims("c4nary".to_owned());
        let text = format!("{ann:?}");
        assert!(text.contains("ann") && !text.contains("c4nary"), "{text}");
        assert_eq!(ann.claims::<String>().unwrap(), "c4nary");
        assert_eq!(ann.claims::<u8>(), None);
    }

    #[test]
    fn a_changed_clone_leaves_the_original() {
        let ann = Principal::new("ann", Proof::Password).with_roles(["clerk"]);
        let admin = ann
            .clone()
            .with_roles(["admin"])
            .with_issuer("https://id.example");
        assert!(ann.has_role("clerk") && ann.issuer().is_none());
        assert!(admin.has_role("admin") && !admin.has_role("clerk"));
    }
}
