//! An HTTP server for tower services: limits for every resource, TLS, health, and a shutdown in order.
//!
//! [`Server`] serves HTTP/1.1 and HTTP/2 on one port, for an axum `Router`, tonic's `Routes` or any
//! [`Service`](tower_service::Service) of [`http::Request`]. Slow, idle and abusive clients are cut off, and at the shutdown calls end
//! before the process does.
//!
//! ```
//! use axum::{Router, routing::get};
//! use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
//! use towerkit_server::{Drained, Health, Server};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let health = Health::new();
//! let app = Router::new()
//!     .route("/", get(async || "hello"))
//!     .route_service("/readyz", health.service());
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//!
//! // A program shuts down by `towerkit_server::shutdown_signal()?`. This one does after its only call.
//! let shutdown = async {
//!     let mut client = TcpStream::connect(address).await.unwrap();
//!     client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
//!     let mut response = String::new();
//!     client.read_to_string(&mut response).await.unwrap();
//!     assert!(response.starts_with("HTTP/1.0 200 OK\r\n") && response.ends_with("hello"));
//! };
//! let drained = Server::new().health(health).serve(listener, app, shutdown).await;
//! assert_eq!(drained, Drained::Complete);
//! # Ok::<_, std::io::Error>(())
//! # })?;
//! # Ok::<_, std::io::Error>(())
//! ```
//!
//! Each request has the address of its peer in its extensions ([`PeerAddress`](towerkit_http::PeerAddress)), so that limits by client
//! address work.
//!
//! # Limits
//!
//! | limit | default | a client over it |
//! |---|---|---|
//! | [`head_timeout`](Server::head_timeout): a slow head, or no first one | 10 s | is closed |
//! | [`idle_timeout`](Server::idle_timeout): no call | 60 s | is closed, over HTTP/2 with a [`GOAWAY`] |
//! | [`write_timeout`](Server::write_timeout): reads less than 1 KiB of a response | 30 s | is closed |
//! | [`body_timeout`](Server::body_timeout): sends less than 1 KiB of a request body | 30 s | gets a [408] |
//! | [`half_close_timeout`](Server::half_close_timeout): has closed its sending side during a call | 5 s | loses the call |
//! | [`handshake_timeout`](Server::handshake_timeout): a slow TLS handshake | 10 s | is closed |
//! | [`max_connection_age`](Server::max_connection_age) | none | is closed after its calls, or after a grace |
//! | [`max_connections`](Server::max_connections) of a listener | 10,000 | waits |
//! | [`max_headers`](Server::max_headers) | 100 | gets a [431] |
//! | [`max_header_bytes`](Server::max_header_bytes), with the URI | 64 KiB | gets a [431] or a [414] |
//! | [`max_streams`](Server::max_streams): concurrent calls of an HTTP/2 connection | 200 | waits |
//! | [`max_resets`](Server::max_resets): calls that it cancels, if they are most of its calls | 500 | is closed with a [`GOAWAY`] |
//! | [`ping_interval`](Server::ping_interval): an HTTP/2 ping without an answer | 20 s | is closed |
//!
//! A service may answer before it has read the body of a request. Over HTTP/1.1 the server then reads up to 256 KiB of the rest, for up
//! to a second, before it sends the response, so that the connection can be used again; without it, clients that still send lose the
//! response. It does not if the request expects `100-continue`.
//!
//! Responses with the content type `text/event-stream` or `application/grpc`, and upgraded connections such as WebSockets, have no
//! limits of time: they end by themselves, or with the shutdown. The body of a gRPC request has none either, because a stream may pause:
//! a `TimeoutLayer` around a unary method limits the wait for its message, too. A request of HTTP/1.1 without a `Host`, or with several, gets a 400
//! ([RFC 9112, section 3.2]). While the process has no descriptors left, the server waits and tries again.
//!
//! [Limits of bodies] and of the time of calls are layers: `RequestBodyLimitLayer` of tower-http, `TimeoutLayer` of towerkit-timeout.
//!
//! [`GOAWAY`]: https://www.rfc-editor.org/rfc/rfc9113#section-6.8
//! [408]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9
//! [414]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.15
//! [431]: https://www.rfc-editor.org/rfc/rfc6585#section-5
//! [RFC 9112, section 3.2]: https://www.rfc-editor.org/rfc/rfc9112#section-3.2
//! [Limits of bodies]: https://docs.rs/tower-http/latest/tower_http/limit/index.html
//!
//! # Shutdown
//!
//! When the future that was given to [`serve`](Server::serve) or [`run`](Server::run) resolves, the server does in this order:
//!
//! 1. It runs [`on_stop`](Server::on_stop), which takes the instance out of service discovery.
//! 2. It serves on for the time of [`shutdown_delay`](Server::shutdown_delay), until clients know of that.
//! 3. It is no longer [ready](Health::is_ready).
//! 4. It closes its listeners.
//! 5. It closes idle connections, within a second also those whose client does not react. It lets calls run to the end of their bodies,
//!    for the time of [`drain_timeout`](Server::drain_timeout). HTTP/2 clients get a `GOAWAY`, and a round trip later a second one with the last call.
//! 6. It drops the calls that are left, which layers record as cancelled, and [counts them](Drained::CutOff).
//!
//! Load balancers that poll the readiness have to see it before step 4: call [`set_ready(false)`](Health::set_ready) in `on_stop`.
//! Handlers of event streams can end them at step 3, by [`Health::stopping`].
//!
//! Dropping the future of the server drops all calls at once. [`run_until_signal`](Server::run_until_signal) does so at a second signal:
//!
//! ```
//! # async fn serve(listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
//! use towerkit_server::Server;
//!
//! Server::new().listen(listener, app).run_until_signal()?.await;
//! # Ok(())
//! # }
//! ```
//!
//! # Several listeners
//!
//! [`listen`](Server::listen) adds a listener with its service; all of them share the settings, the health and the shutdown. An admin
//! port has its own limit of connections, so that it answers while the other port is full:
//!
//! ```
//! # async fn serve(app: axum::Router) -> std::io::Result<()> {
//! use tokio::net::TcpListener;
//! use towerkit_server::{Health, Server, shutdown_signal};
//!
//! let health = Health::new();
//! Server::new()
//!     .health(health.clone())
//!     .listen(TcpListener::bind("0.0.0.0:8080").await?, app)
//!     .listen(TcpListener::bind("127.0.0.1:9090").await?, health.service())
//!     .run(shutdown_signal()?)
//!     .await;
//! # Ok(())
//! # }
//! ```
//!
//! Any [`Listener`] will do: TCP, a Unix socket, TLS on top of either, or your own.
//!
//! # TLS
//!
//! With the feature `tls`, `TlsListener` serves TLS with rustls. Its handle replaces certificates while it serves, and clients may have
//! certificates, or must have one:
//!
//! ```
//! # #[cfg(feature = "tls")]
//! # async fn serve(app: axum::Router) -> Result<(), towerkit_core::BoxError> {
//! use std::fs::read;
//! use tokio::net::TcpListener;
//! use towerkit_server::{Server, Tls, TlsListener, shutdown_signal};
//!
//! let tls = || Ok::<_, towerkit_core::BoxError>(
//!     Tls::from_pem(&read("chain.pem")?, &read("key.pem")?)?
//!         .required_client_certificates(&read("clients.pem")?)?,
//! );
//! let listener = TlsListener::new(TcpListener::bind("0.0.0.0:8443").await?, tls()?);
//! let handle = listener.handle();
//! // Later, when the files have changed:
//! handle.reload(tls()?);
//! Server::new().serve(listener, app, shutdown_signal()?).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Tasks
//!
//! The server spawns a task for each listener, for each connection and for each call over HTTP/2. All of them end with the server.
//!
//! # Errors
//!
//! Settings out of range are a [`ConfigError`](towerkit_core::ConfigError). An error of the service becomes a 500 without its text, and so
//! does a panic, after which the connection goes on. A panic in a response body ends the connection, over HTTP/2 the call. The server
//! itself has no errors: failed accepts and the drain are [events](Server::events).
//!
//! # Coming from axum::serve
//!
//! | axum | here |
//! |---|---|
//! | `axum::serve(listener, app).await` | `Server::new().serve(listener, app, shutdown_signal()?).await` |
//! | `.with_graceful_shutdown(signal)` | the third argument, with a limit of time |
//! | `.into_make_service_with_connect_info::<SocketAddr>()` | not needed; extract `Extension(PeerAddress(peer))` |
//!
//! `axum::serve` sets no timeout and no limit: a client that sends half a head, or nothing, holds its connection for ever.
//!
//! # Coming from go-kit
//!
//! go-kit leaves the server to `net/http`, whose `ReadHeaderTimeout`, `IdleTimeout`, `WriteTimeout` and `MaxHeaderBytes` are zero or
//! 1 MiB by default. Here they are `head_timeout`, `idle_timeout`, `write_timeout` and `max_header_bytes`, with other defaults, and the
//! write timeout ends only responses that are not read. `Server.Shutdown` is steps 4 and 5 of the [shutdown](#shutdown), and the
//! deregistration that go-kit's examples do by hand is `on_stop`.

mod accept;
mod activity;
mod call;
mod config;
mod connection;
mod connection_timer;
mod drained;
#[cfg(feature = "grpc-health")]
mod grpc_health;
mod head_check;
mod health;
mod listener;
mod monitored_io;
mod phase;
mod request_body;
mod response_body;
mod server;
mod shutdown;
#[cfg(feature = "tls")]
mod tls;
mod unread_body;

pub use drained::Drained;
#[cfg(feature = "grpc-health")]
pub use grpc_health::{GrpcHealth, GrpcHealthStream};
pub use health::{Health, HealthService};
pub use listener::{Accepted, Listener};
pub use request_body::{RequestBody, RequestBodyError};
pub use server::Server;
pub use shutdown::{ShutdownSignal, shutdown_signal};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError, TlsHandle, TlsListener};
#[cfg(feature = "tls")]
pub use towerkit_http::PeerCertificates;
