use serde::{Deserialize, Serialize};
use tower::{Layer, Service};
use towerkit::endpoint::{Endpoint, EndpointExt, Request, endpoint, endpoint_fn};

use crate::{AddError, AddService};

/// Each operation as a tower service.
///
/// On a server they call an [`AddService`]; in a client they send requests. Either way they are an [`AddService`] themselves.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// [`AddService::sum`].
    pub sum: AddEndpoint<SumRequest, SumReply>,
    /// [`AddService::concat`].
    pub concat: AddEndpoint<ConcatRequest, ConcatReply>,
}

/// An endpoint of this service.
pub type AddEndpoint<T, U> = Endpoint<T, U, AddError>;

/// The integers to sum. The client of go-kit's addsvc writes the names in upper case.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the two summands")]
pub struct SumRequest {
    #[serde(alias = "A")]
    pub a: i64,
    #[serde(alias = "B")]
    pub b: i64,
}

/// A sum.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SumReply {
    /// The value.
    pub v: i64,
}

/// The strings to concatenate. The client of go-kit's addsvc writes the names in upper case.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the two strings")]
pub struct ConcatRequest {
    #[serde(alias = "A")]
    pub a: String,
    #[serde(alias = "B")]
    pub b: String,
}

/// A string.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConcatReply {
    /// The value.
    pub v: String,
}

impl Endpoints {
    /// Makes the endpoints of a service.
    pub fn new<S: AddService + Clone>(service: S) -> Self {
        let sum = |service: S, SumRequest { a, b }| async move {
            let v = service.sum(a, b).await?;
            Ok(SumReply { v })
        };
        let concat = |service: S, ConcatRequest { a, b }| async move {
            let v = service.concat(a, b).await?;
            Ok(ConcatReply { v })
        };
        Self {
            sum: endpoint(endpoint_fn(service.clone(), sum)),
            concat: endpoint(endpoint_fn(service, concat)),
        }
    }

    /// Puts a layer around each endpoint; `layer` makes it for one of them, so that each has limits of its own.
    #[must_use]
    pub fn layer<L>(self, layer: impl Fn() -> L) -> Self
    where
        L: Layer<AddEndpoint<SumRequest, SumReply>>
            + Layer<AddEndpoint<ConcatRequest, ConcatReply>>,
        <L as Layer<AddEndpoint<SumRequest, SumReply>>>::Service: Service<Request<SumRequest>, Response = SumReply, Error = AddError, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        <L as Layer<AddEndpoint<ConcatRequest, ConcatReply>>>::Service: Service<Request<ConcatRequest>, Response = ConcatReply, Error = AddError, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        Self {
            sum: endpoint(layer().layer(self.sum)),
            concat: endpoint(layer().layer(self.concat)),
        }
    }
}

impl AddService for Endpoints {
    async fn sum(&self, a: i64, b: i64) -> Result<i64, AddError> {
        let request = Request::new("sum", SumRequest { a, b });
        Ok(self.sum.invoke(request).await?.v)
    }

    async fn concat(&self, a: String, b: String) -> Result<String, AddError> {
        let request = Request::new("concat", ConcatRequest { a, b });
        Ok(self.concat.invoke(request).await?.v)
    }
}
