//! go-kit's profile service on towerkit: create, read, update and delete over HTTP, and a client of it.
//!
//! - **Service** (`service.rs`): the trait [`ProfileService`] and its implementation in memory. It knows no tower and no HTTP.
//! - **Endpoints** (`endpoints.rs`): each operation as a tower service. [`Endpoints`] implements the trait, too.
//! - **Transport** (`routes.rs`, `client.rs`): the endpoints served by HTTP, and the same endpoints as clients.
//!
//! ```sh
//! cargo run -p profilesvc
//! curl -d '{"id":"1234","name":"Go Kit"}' localhost:8080/profiles/   # {}
//! curl localhost:8080/profiles/1234                                  # {"profile":{"id":"1234","name":"Go Kit"}}
//! ```
//!
//! | request | success | errors |
//! |---|---|---|
//! | `POST /profiles/` | `{}` | 409: the id exists |
//! | `GET /profiles/{id}` | `{"profile":{…}}` | 404 |
//! | `PUT /profiles/{id}` | `{}`; creates the profile, too | 400: another id in the body |
//! | `PATCH /profiles/{id}` | `{}`; changes the members that are not empty | 400, 404 |
//! | `DELETE /profiles/{id}` | `{}` | 404 |
//! | `GET`, `POST /profiles/{id}/addresses/` | `{"addresses":[…]}`, `{}` | 404; 409: the id exists |
//! | `GET`, `DELETE /profiles/{id}/addresses/{address}` | `{"address":{…}}`, `{}` | 404 |
//!
//! Errors are problem details ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).

mod client;
mod endpoints;
mod routes;
mod service;

pub use client::client;
pub use endpoints::{
    AddressId, AddressResponse, AddressesResponse, Empty, Endpoints, ProfileEndpoint, ProfileId,
    ProfileResponse, WithId,
};
pub use routes::{app, routes};
pub use service::{Address, InMemory, Profile, ProfileError, ProfileService};
