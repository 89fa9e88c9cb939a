use serde::{Deserialize, Serialize};
use towerkit::endpoint::{Endpoint, EndpointExt, Request, endpoint, endpoint_fn};

use crate::{Address, Profile, ProfileError, ProfileService};

/// Each operation as a tower service.
///
/// On a server they call a [`ProfileService`]; in a [`client`](crate::client) they send requests. Either way they are a
/// [`ProfileService`] themselves.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "each is the operation of the trait with its name"
)]
pub struct Endpoints {
    pub post_profile: ProfileEndpoint<Profile, Empty>,
    pub get_profile: ProfileEndpoint<ProfileId, ProfileResponse>,
    pub put_profile: ProfileEndpoint<WithId<Profile>, Empty>,
    pub patch_profile: ProfileEndpoint<WithId<Profile>, Empty>,
    pub delete_profile: ProfileEndpoint<ProfileId, Empty>,
    pub get_addresses: ProfileEndpoint<ProfileId, AddressesResponse>,
    pub get_address: ProfileEndpoint<AddressId, AddressResponse>,
    pub post_address: ProfileEndpoint<WithId<Address>, Empty>,
    pub delete_address: ProfileEndpoint<AddressId, Empty>,
}

/// An endpoint of this service.
pub type ProfileEndpoint<T, U> = Endpoint<T, U, ProfileError>;

/// The id of a profile.
#[derive(Debug, Clone)]
pub struct ProfileId(pub String);

/// The id of a profile, and that of an address of it.
#[derive(Debug, Clone)]
pub struct AddressId {
    /// The id of the profile.
    pub profile: String,
    /// The id of the address.
    pub address: String,
}

/// The id of a profile, and a value for it.
#[derive(Debug, Clone)]
pub struct WithId<T> {
    /// The id of the profile.
    pub id: String,
    /// The value.
    pub value: T,
}

/// A response without content: `{}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Empty {}

/// A response with a profile.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProfileResponse {
    /// The profile.
    pub profile: Profile,
}

/// A response with addresses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AddressesResponse {
    /// The addresses.
    pub addresses: Vec<Address>,
}

/// A response with an address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AddressResponse {
    /// The address.
    pub address: Address,
}

impl Endpoints {
    /// Makes the endpoints of a service.
    pub fn new<S: ProfileService + Clone>(service: S) -> Self {
        Self {
            post_profile: endpoint(endpoint_fn(
                service.clone(),
                |service, profile| async move { service.post_profile(profile).await.map(|()| Empty {}) },
            )),
            get_profile: endpoint(endpoint_fn(
                service.clone(),
                |service, ProfileId(id)| async move {
                    let profile = service.get_profile(id).await?;
                    Ok(ProfileResponse { profile })
                },
            )),
            put_profile: endpoint(endpoint_fn(
                service.clone(),
                |service, WithId { id, value }| async move {
                    service.put_profile(id, value).await.map(|()| Empty {})
                },
            )),
            patch_profile: endpoint(endpoint_fn(
                service.clone(),
                |service, WithId { id, value }| async move {
                    service.patch_profile(id, value).await.map(|()| Empty {})
                },
            )),
            delete_profile: endpoint(endpoint_fn(
                service.clone(),
                |service, ProfileId(id)| async move {
                    service.delete_profile(id).await.map(|()| Empty {})
                },
            )),
            get_addresses: endpoint(endpoint_fn(
                service.clone(),
                |service, ProfileId(id)| async move {
                    let addresses = service.get_addresses(id).await?;
                    Ok(AddressesResponse { addresses })
                },
            )),
            get_address: endpoint(endpoint_fn(
                service.clone(),
                |service, id: AddressId| async move {
                    let address = service.get_address(id.profile, id.address).await?;
                    Ok(AddressResponse { address })
                },
            )),
            post_address: endpoint(endpoint_fn(
                service.clone(),
                |service, WithId { id, value }| async move {
                    service.post_address(id, value).await.map(|()| Empty {})
                },
            )),
            delete_address: endpoint(endpoint_fn(service, |service, id: AddressId| async move {
                service
                    .delete_address(id.profile, id.address)
                    .await
                    .map(|()| Empty {})
            })),
        }
    }
}

type Result<T> = std::result::Result<T, ProfileError>;

impl ProfileService for Endpoints {
    async fn post_profile(&self, profile: Profile) -> Result<()> {
        let request = Request::new("post_profile", profile);
        self.post_profile.invoke(request).await.map(drop)
    }

    async fn get_profile(&self, id: String) -> Result<Profile> {
        let request = Request::new("get_profile", ProfileId(id));
        Ok(self.get_profile.invoke(request).await?.profile)
    }

    async fn put_profile(&self, id: String, value: Profile) -> Result<()> {
        let request = Request::new("put_profile", WithId { id, value });
        self.put_profile.invoke(request).await.map(drop)
    }

    async fn patch_profile(&self, id: String, value: Profile) -> Result<()> {
        let request = Request::new("patch_profile", WithId { id, value });
        self.patch_profile.invoke(request).await.map(drop)
    }

    async fn delete_profile(&self, id: String) -> Result<()> {
        let request = Request::new("delete_profile", ProfileId(id));
        self.delete_profile.invoke(request).await.map(drop)
    }

    async fn get_addresses(&self, profile: String) -> Result<Vec<Address>> {
        let request = Request::new("get_addresses", ProfileId(profile));
        Ok(self.get_addresses.invoke(request).await?.addresses)
    }

    async fn get_address(&self, profile: String, address: String) -> Result<Address> {
        let request = Request::new("get_address", AddressId { profile, address });
        Ok(self.get_address.invoke(request).await?.address)
    }

    async fn post_address(&self, profile: String, value: Address) -> Result<()> {
        let request = Request::new("post_address", WithId { id: profile, value });
        self.post_address.invoke(request).await.map(drop)
    }

    async fn delete_address(&self, profile: String, address: String) -> Result<()> {
        let request = Request::new("delete_address", AddressId { profile, address });
        self.delete_address.invoke(request).await.map(drop)
    }
}
