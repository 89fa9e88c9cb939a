//! The routes of the string service with nothing around them: what the benchmarks compare it with.

use std::io;
use std::sync::Arc;

use stringsvc::Strings;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, stringsvc::routes(Arc::new(Strings))).await
}
