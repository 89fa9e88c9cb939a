use std::{
    borrow::Cow,
    collections::BTreeMap,
    error::Error,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use towerkit::{
    core::{CarriesRejection, ErrorCode, Rejection},
    endpoint::{IntoRpcError, RpcError},
};

/// A person, with addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// The identifier, which is unique.
    pub id: String,
    /// The name.
    #[serde(alias = "Name", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
}

/// An address of a [`Profile`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    /// The identifier, which is unique within the profile.
    pub id: String,
    /// The location.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub location: String,
}

/// Operations on profiles: the business logic, which knows no tower and no HTTP.
///
/// [`InMemory`] implements it, and so do the endpoints of a [`client`](crate::client).
pub trait ProfileService: Send + Sync + 'static {
    /// Adds a profile.
    ///
    /// # Errors
    ///
    /// Returns [`ProfileError::AlreadyExists`] if there is one with its id.
    fn post_profile(&self, profile: Profile) -> impl Future<Output = Result<()>> + Send;

    /// Returns a profile.
    ///
    /// # Errors
    ///
    /// Returns [`ProfileError::NotFound`].
    fn get_profile(&self, id: String) -> impl Future<Output = Result<Profile>> + Send;

    /// Replaces a profile, or adds it.
    ///
    /// # Errors
    ///
    /// Returns [`ProfileError::InconsistentIds`] if `id` is not that of `profile`.
    fn put_profile(&self, id: String, profile: Profile) -> impl Future<Output = Result<()>> + Send;

    /// Replaces the members of a profile that are not empty in `profile`.
    ///
    /// # Errors
    ///
    /// Returns [`ProfileError::InconsistentIds`] if `profile` has an id and it is not `id`, and [`ProfileError::NotFound`].
    fn patch_profile(
        &self,
        id: String,
        profile: Profile,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Removes a profile.
    ///
    /// # Errors
    ///
    /// Returns [`ProfileError::NotFound`].
    fn delete_profile(&self, id: String) -> impl Future<Output = Result<()>> + Send;

    /// Returns the addresses of a profile.
    ///
    /// # Errors
    ///
    /// Returns [`ProfileError::NotFound`].
    fn get_addresses(&self, profile: String) -> impl Future<Output = Result<Vec<Address>>> + Send;

    /// Returns an address of a profile.
    ///
    /// # Errors
    ///
    /// Returns [`ProfileError::NotFound`].
    fn get_address(
        &self,
        profile: String,
        address: String,
    ) -> impl Future<Output = Result<Address>> + Send;

    /// Adds an address to a profile.
    ///
    /// # Errors
    ///
    /// Returns [`ProfileError::NotFound`] if there is no such profile, and [`ProfileError::AlreadyExists`] if it has an address with
    /// this id.
    fn post_address(
        &self,
        profile: String,
        address: Address,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Removes an address of a profile.
    ///
    /// # Errors
    ///
    /// Returns [`ProfileError::NotFound`].
    fn delete_address(
        &self,
        profile: String,
        address: String,
    ) -> impl Future<Output = Result<()>> + Send;
}

type Result<T> = std::result::Result<T, ProfileError>;

/// The errors of a [`ProfileService`].
#[derive(Debug, Clone)]
pub enum ProfileError {
    /// The profile or the address exists already.
    AlreadyExists,
    /// The profile or the address does not exist.
    NotFound,
    /// The id of the path is not that of the body.
    InconsistentIds,
    /// A rejection by a layer, or an error of the transport.
    Rpc(RpcError),
}

impl IntoRpcError for ProfileError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::AlreadyExists => ErrorCode::AlreadyExists,
            Self::NotFound => ErrorCode::NotFound,
            Self::InconsistentIds => ErrorCode::InvalidArgument,
            Self::Rpc(error) => error.code(),
        }
    }

    fn message(&self) -> Cow<'_, str> {
        match self {
            Self::AlreadyExists => "already exists".into(),
            Self::NotFound => "not found".into(),
            Self::InconsistentIds => "inconsistent IDs".into(),
            Self::Rpc(error) => error.message(),
        }
    }

    fn as_rpc_error(&self) -> Option<&RpcError> {
        match self {
            Self::Rpc(error) => Some(error),
            _ => None,
        }
    }
}

impl CarriesRejection for ProfileError {
    fn from_rejection(rejection: Rejection) -> Self {
        Self::Rpc(rejection.into())
    }

    fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rpc(error) => error.rejection(),
            _ => None,
        }
    }
}

/// Reads the error that a client got.
impl From<RpcError> for ProfileError {
    fn from(error: RpcError) -> Self {
        match error.code() {
            ErrorCode::AlreadyExists => Self::AlreadyExists,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::InvalidArgument if error.message() == "inconsistent IDs" => {
                Self::InconsistentIds
            }
            _ => Self::Rpc(error),
        }
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl Error for ProfileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Rpc(error) => error.source(),
            _ => None,
        }
    }
}

/// A [`ProfileService`] in memory.
#[derive(Debug, Clone, Default)]
pub struct InMemory(Arc<Mutex<BTreeMap<String, Profile>>>);

impl InMemory {
    /// Makes a service without profiles.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Profile>> {
        // No operation panics between two changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn profile<T>(&self, id: &str, run: impl FnOnce(&mut Profile) -> Result<T>) -> Result<T> {
        run(self.lock().get_mut(id).ok_or(ProfileError::NotFound)?)
    }
}

impl ProfileService for InMemory {
    async fn post_profile(&self, profile: Profile) -> Result<()> {
        let mut profiles = self.lock();
        if profiles.contains_key(&profile.id) {
            return Err(ProfileError::AlreadyExists);
        }
        profiles.insert(profile.id.clone(), profile);
        Ok(())
    }

    async fn get_profile(&self, id: String) -> Result<Profile> {
        self.profile(&id, |profile| Ok(profile.clone()))
    }

    async fn put_profile(&self, id: String, profile: Profile) -> Result<()> {
        if id != profile.id {
            return Err(ProfileError::InconsistentIds);
        }
        self.lock().insert(id, profile);
        Ok(())
    }

    async fn patch_profile(&self, id: String, patch: Profile) -> Result<()> {
        if !patch.id.is_empty() && patch.id != id {
            return Err(ProfileError::InconsistentIds);
        }
        self.profile(&id, |profile| {
            if !patch.name.is_empty() {
                profile.name = patch.name;
            }
            if !patch.addresses.is_empty() {
                profile.addresses = patch.addresses;
            }
            Ok(())
        })
    }

    async fn delete_profile(&self, id: String) -> Result<()> {
        let removed = self.lock().remove(&id);
        removed.map(drop).ok_or(ProfileError::NotFound)
    }

    async fn get_addresses(&self, profile: String) -> Result<Vec<Address>> {
        self.profile(&profile, |profile| Ok(profile.addresses.clone()))
    }

    async fn get_address(&self, profile: String, address: String) -> Result<Address> {
        self.profile(&profile, |profile| {
            let mut addresses = profile.addresses.iter();
            let found = addresses.find(|known| known.id == address);
            found.cloned().ok_or(ProfileError::NotFound)
        })
    }

    async fn post_address(&self, profile: String, address: Address) -> Result<()> {
        self.profile(&profile, |profile| {
            if profile.addresses.iter().any(|known| known.id == address.id) {
                return Err(ProfileError::AlreadyExists);
            }
            profile.addresses.push(address);
            Ok(())
        })
    }

    async fn delete_address(&self, profile: String, address: String) -> Result<()> {
        self.profile(&profile, |profile| {
            let before = mem::take(&mut profile.addresses);
            let count = before.len();
            profile.addresses = before
                .into_iter()
                .filter(|known| known.id != address)
                .collect();
            if profile.addresses.len() == count {
                return Err(ProfileError::NotFound);
            }
            Ok(())
        })
    }
}
