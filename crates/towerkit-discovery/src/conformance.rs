//! Tests that every registry passes, for the crates that implement one.
//!
//! [`registry_conformance!`](crate::registry_conformance) makes a module of them, given a [`Driver`] and a [`Server`]. They take the
//! server away in every way (killed, wiped, stopped, cut off), count the requests meanwhile, and measure how long it takes until
//! instances are right again afterwards.

mod checks;
mod driver;
mod process;
mod proxy;
mod server;

pub use checks::{
    a_change_that_was_missed_while_the_network_was_cut_is_seen_afterwards,
    an_instance_is_seen_with_its_metadata_until_it_is_deregistered,
    an_instance_that_dies_is_gone_after_its_ttl,
    no_task_and_no_connection_is_left_after_the_last_handle, one_client_serves_several_services,
    the_last_set_serves_on_while_connections_are_refused,
    the_last_set_serves_on_while_the_registry_is_killed,
    the_last_set_serves_on_while_the_registry_is_stopped, wiped_registry_gets_the_instance_again,
};
pub use driver::{Driver, Metadata};
pub use process::{ServerFiles, ServerProcess};
pub use proxy::{Link, Proxy};
pub use server::Server;

/// Makes the tests of a registry: one for each check of [`conformance`](crate::conformance).
///
/// ```text
/// mod conformance {
///     towerkit_discovery::registry_conformance! {
///         #[ignore = "needs etcd"]
///         driver: EtcdDriver,
///         server: ServerProcess::start(etcd),
///     }
/// }
/// ```
///
/// `driver` is an expression of a [`Driver`](crate::conformance::Driver), `server` one of a future of a
/// [`Server`](crate::conformance::Server). Both run once for each test. The attributes are those of every test.
#[macro_export]
macro_rules! registry_conformance {
    (
        $(#[$attribute:meta])*
        driver: $driver:expr,
        server: $server:expr $(,)?
    ) => {
        $crate::registry_conformance! {
            @tests [$(#[$attribute])*] $driver, $server,
            an_instance_is_seen_with_its_metadata_until_it_is_deregistered
            one_client_serves_several_services
            an_instance_that_dies_is_gone_after_its_ttl
            the_last_set_serves_on_while_the_registry_is_killed
            the_last_set_serves_on_while_the_registry_is_stopped
            the_last_set_serves_on_while_connections_are_refused
            a_change_that_was_missed_while_the_network_was_cut_is_seen_afterwards
            wiped_registry_gets_the_instance_again
            no_task_and_no_connection_is_left_after_the_last_handle
        }
    };
    (@tests $attributes:tt $driver:expr, $server:expr, $($check:ident)*) => {
        $($crate::registry_conformance! { @test $attributes $driver, $server, $check })*
    };
    (@test [$($attribute:tt)*] $driver:expr, $server:expr, $check:ident) => {
        #[::tokio::test]
        $($attribute)*
        async fn $check() {
            let server = $server.await;
            $crate::conformance::$check(&$driver, server).await;
        }
    };
}
