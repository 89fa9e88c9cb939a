//! go-kit's string service on towerkit.

mod app;
mod args;
mod endpoint;
mod http;
mod request_id;
mod server;
mod service;
mod signals;

pub use app::app;
pub use args::Args;
pub use args::LogFormat;
pub use endpoint::CountResponse;
pub use endpoint::Endpoint;
pub use endpoint::StringRequest;
pub use endpoint::UppercaseResponse;
pub use endpoint::count;
pub use endpoint::uppercase;
pub use http::MAX_BODY;
pub use http::routes;
pub use server::serve;
pub use service::EmptyString;
pub use service::StringService;
pub use service::Strings;
