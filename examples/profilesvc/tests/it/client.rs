//! The client: the trait of the service, over HTTP.

use http::Uri;
use profilesvc::{
    Address, Endpoints, InMemory, Profile, ProfileError, ProfileService, client, routes,
};

/// The implementation in memory, its endpoints, and a client of them over HTTP.
fn services() -> (InMemory, Endpoints, Endpoints) {
    let over_http = client(
        routes(Endpoints::new(InMemory::new())),
        &Uri::from_static("http://profiles.example"),
    );
    (InMemory::new(), Endpoints::new(InMemory::new()), over_http)
}

fn profile(id: &str, name: &str) -> Profile {
    Profile {
        id: id.to_owned(),
        name: name.to_owned(),
        addresses: Vec::new(),
    }
}

fn address(id: &str) -> Address {
    Address {
        id: id.to_owned(),
        location: "here".to_owned(),
    }
}

async fn the_same_everywhere(service: impl ProfileService) {
    // An id that a path must escape.
    let id = || "a/b ?é%".to_owned();
    service.post_profile(profile(&id(), "Ann")).await.unwrap();
    let again = service.post_profile(profile(&id(), "Ann")).await;
    assert!(matches!(again, Err(ProfileError::AlreadyExists)));
    assert_eq!(service.get_profile(id()).await.unwrap().name, "Ann");
    let missing = service.get_profile("nowhere".to_owned()).await;
    assert!(matches!(missing, Err(ProfileError::NotFound)));

    let other = service.put_profile(id(), profile("other", "Bob")).await;
    assert!(
        matches!(other, Err(ProfileError::InconsistentIds)),
        "{other:?}"
    );
    service
        .put_profile(id(), profile(&id(), "Bob"))
        .await
        .unwrap();
    service
        .patch_profile(id(), profile("", "Cid"))
        .await
        .unwrap();
    service.patch_profile(id(), profile("", "")).await.unwrap();
    assert_eq!(service.get_profile(id()).await.unwrap().name, "Cid");

    service.post_address(id(), address("a1")).await.unwrap();
    let again = service.post_address(id(), address("a1")).await;
    assert!(matches!(again, Err(ProfileError::AlreadyExists)));
    assert_eq!(service.get_addresses(id()).await.unwrap(), [address("a1")]);
    let found = service.get_address(id(), "a1".to_owned()).await;
    assert_eq!(found.unwrap(), address("a1"));
    service.delete_address(id(), "a1".to_owned()).await.unwrap();
    let gone = service.delete_address(id(), "a1".to_owned()).await;
    assert!(matches!(gone, Err(ProfileError::NotFound)));

    service.delete_profile(id()).await.unwrap();
    let gone = service.delete_profile(id()).await;
    assert!(matches!(gone, Err(ProfileError::NotFound)));
}

#[tokio::test]
async fn a_client_behaves_as_the_service_itself_does() {
    let (in_memory, endpoints, over_http) = services();
    the_same_everywhere(in_memory).await;
    the_same_everywhere(endpoints).await;
    the_same_everywhere(over_http).await;
}
