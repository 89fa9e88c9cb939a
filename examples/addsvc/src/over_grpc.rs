use http_body::Body as HttpBody;
use tonic::{Request, Response, Status, body::Body, client::GrpcService};
use tower::ServiceExt;
use towerkit::{
    core::{BoxError, ConfigError, ErrorCode},
    endpoint::{RpcError, endpoint},
    transport_grpc::{client, serve},
};

use crate::{
    AddError, ConcatReply, ConcatRequest, Endpoints, SumReply, SumRequest,
    pb::{self, add_server::Add},
};

/// The endpoints as the gRPC service `pb.Add`.
#[derive(Debug)]
pub(crate) struct GrpcAdd {
    pub(crate) endpoints: Endpoints,
    pub(crate) go_kit_errors: bool,
}

impl GrpcAdd {
    /// Returns the message of a business error, if it is sent in the reply as go-kit does.
    fn go_kit_error<T>(&self, result: &Result<T, Status>) -> Option<String> {
        let message = result.as_ref().err()?.message();
        let is_business = self.go_kit_errors && AddError::business(message).is_some();
        is_business.then(|| message.to_owned())
    }
}

#[tonic::async_trait]
impl Add for GrpcAdd {
    async fn sum(
        &self,
        request: Request<pb::SumRequest>,
    ) -> Result<Response<pb::SumReply>, Status> {
        let result = serve("sum", &self.endpoints.sum, request).await;
        match self.go_kit_error(&result) {
            Some(err) => Ok(Response::new(pb::SumReply { v: 0, err })),
            None => result,
        }
    }

    async fn concat(
        &self,
        request: Request<pb::ConcatRequest>,
    ) -> Result<Response<pb::ConcatReply>, Status> {
        let result = serve("concat", &self.endpoints.concat, request).await;
        match self.go_kit_error(&result) {
            Some(err) => Ok(Response::new(pb::ConcatReply {
                v: String::new(),
                err,
            })),
            None => result,
        }
    }
}

/// Makes the endpoints of a client that calls the gRPC service over a channel, or over one inside of layers.
///
/// # Errors
///
/// Returns a [`ConfigError`] if a path is not that of a method.
pub fn grpc_client<C>(channel: C) -> Result<Endpoints, ConfigError>
where
    C: GrpcService<Body, Future: Send> + Clone + Send + Sync + 'static,
    C::ResponseBody: HttpBody<Error: Into<BoxError>> + Send + 'static,
{
    let sum = client::<pb::SumRequest, pb::SumReply, _, _, _>(channel.clone(), "/pb.Add/Sum")?;
    let concat = client::<pb::ConcatRequest, pb::ConcatReply, _, _, _>(channel, "/pb.Add/Concat")?;
    Ok(Endpoints {
        sum: endpoint(sum.map_err(Into::into)),
        concat: endpoint(concat.map_err(Into::into)),
    })
}

impl From<pb::SumRequest> for SumRequest {
    fn from(pb::SumRequest { a, b }: pb::SumRequest) -> Self {
        Self { a, b }
    }
}

impl From<SumRequest> for pb::SumRequest {
    fn from(SumRequest { a, b }: SumRequest) -> Self {
        Self { a, b }
    }
}

impl From<SumReply> for pb::SumReply {
    fn from(SumReply { v }: SumReply) -> Self {
        let err = String::new();
        Self { v, err }
    }
}

/// A reply with the error of a go-kit server is an error.
impl TryFrom<pb::SumReply> for SumReply {
    type Error = RpcError;

    fn try_from(pb::SumReply { v, err }: pb::SumReply) -> Result<Self, RpcError> {
        business_error(err)?;
        Ok(Self { v })
    }
}

impl From<pb::ConcatRequest> for ConcatRequest {
    fn from(pb::ConcatRequest { a, b }: pb::ConcatRequest) -> Self {
        Self { a, b }
    }
}

impl From<ConcatRequest> for pb::ConcatRequest {
    fn from(ConcatRequest { a, b }: ConcatRequest) -> Self {
        Self { a, b }
    }
}

impl From<ConcatReply> for pb::ConcatReply {
    fn from(ConcatReply { v }: ConcatReply) -> Self {
        let err = String::new();
        Self { v, err }
    }
}

/// A reply with the error of a go-kit server is an error.
impl TryFrom<pb::ConcatReply> for ConcatReply {
    type Error = RpcError;

    fn try_from(pb::ConcatReply { v, err }: pb::ConcatReply) -> Result<Self, RpcError> {
        business_error(err)?;
        Ok(Self { v })
    }
}

fn business_error(err: String) -> Result<(), RpcError> {
    match err.as_str() {
        "" => Ok(()),
        _ => Err(RpcError::new(ErrorCode::InvalidArgument, err)),
    }
}
