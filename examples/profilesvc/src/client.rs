use bytes::Bytes;
use http::{Method, Response, Uri, request::Parts, uri::PathAndQuery};
use http_body::Body;
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use tower::{Service, ServiceExt};
use towerkit::{
    core::BoxError,
    endpoint::{RpcError, endpoint},
    transport_http::{EncodeRequest, Json, client as http_client},
};

use crate::{
    Endpoints,
    endpoints::{AddressId, ProfileEndpoint, ProfileId, WithId},
};

/// Makes the endpoints of a client that sends requests by `http` to the instance at `base`, such as `http://localhost:8080`.
///
/// `http` is a pooled client inside of layers with `.http_client()`, or the [`routes`](crate::routes) in a test.
pub fn client<H, B>(http: H, base: &Uri) -> Endpoints
where
    H: Service<http::Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let client = Client { http, base };
    Endpoints {
        post_profile: client.endpoint(Method::POST, |profile, head: &mut Parts| {
            set_path(head, "/profiles/")?;
            Json.encode_request(profile, head)
        }),
        get_profile: client.endpoint(Method::GET, at_profile),
        put_profile: client.endpoint(Method::PUT, to_profile),
        patch_profile: client.endpoint(Method::PATCH, to_profile),
        delete_profile: client.endpoint(Method::DELETE, at_profile),
        get_addresses: client.endpoint(Method::GET, |ProfileId(id), head: &mut Parts| {
            set_path(head, &format!("/profiles/{}/addresses/", escape(&id)))?;
            Ok(Bytes::new())
        }),
        get_address: client.endpoint(Method::GET, at_address),
        post_address: client.endpoint(Method::POST, |message: WithId<_>, head: &mut Parts| {
            set_path(
                head,
                &format!("/profiles/{}/addresses/", escape(&message.id)),
            )?;
            Json.encode_request(message.value, head)
        }),
        delete_address: client.endpoint(Method::DELETE, at_address),
    }
}

struct Client<'a, H> {
    http: H,
    base: &'a Uri,
}

impl<H, B> Client<'_, H>
where
    H: Service<http::Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    fn endpoint<T, U, F>(&self, method: Method, encode: F) -> ProfileEndpoint<T, U>
    where
        T: Send + 'static,
        U: DeserializeOwned + Send + 'static,
        F: Fn(T, &mut Parts) -> Result<Bytes, RpcError> + Clone + Send + Sync + 'static,
    {
        let client = http_client(self.http.clone(), method, self.base.clone(), (encode, Json));
        endpoint(client.map_err(Into::into))
    }
}

fn at_profile(ProfileId(id): ProfileId, head: &mut Parts) -> Result<Bytes, RpcError> {
    set_path(head, &format!("/profiles/{}", escape(&id)))?;
    Ok(Bytes::new())
}

fn to_profile<T: Serialize>(message: WithId<T>, head: &mut Parts) -> Result<Bytes, RpcError> {
    set_path(head, &format!("/profiles/{}", escape(&message.id)))?;
    Json.encode_request(message.value, head)
}

fn at_address(id: AddressId, head: &mut Parts) -> Result<Bytes, RpcError> {
    let (profile, address) = (escape(&id.profile), escape(&id.address));
    set_path(head, &format!("/profiles/{profile}/addresses/{address}"))?;
    Ok(Bytes::new())
}

/// Escapes an id for a segment of a path.
fn escape(id: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(id, NON_ALPHANUMERIC)
}

fn set_path(head: &mut Parts, path: &str) -> Result<(), RpcError> {
    let internal = |error: http::Error| RpcError::internal().with_source(error);
    let mut uri = std::mem::take(&mut head.uri).into_parts();
    uri.path_and_query =
        Some(PathAndQuery::try_from(path).map_err(|error| internal(error.into()))?);
    head.uri = Uri::from_parts(uri).map_err(|error| internal(error.into()))?;
    Ok(())
}
