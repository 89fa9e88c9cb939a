/// Makes a module of tests of a [`Subject`](crate::Subject), one for each law that needs only the layer: all but T-02, T-07 and T-12.
///
/// `contract!(name, PlainClient, subject)` takes the name of the module, the [client](crate::TestClient)
/// ([`PlainClient`](crate::PlainClient), [`RpcClient`](crate::RpcClient), [`HttpClient`](crate::HttpClient) or
/// [`GrpcClient`](crate::GrpcClient)), and an expression for a new subject, which is evaluated inside of a runtime with paused time.
///
/// `contract!(name, PlainClient, always_ready, subject)` is for a driver whose services are always ready, such as a load balancer:
/// an error of readiness passes through as the result of the call.
#[macro_export]
macro_rules! contract {
    ($name:ident, $client:ident, $subject:expr) => {
        $crate::contract!(@tests $name, $client, $subject, errors_of_readiness_pass_unchanged);
    };
    ($name:ident, $client:ident, always_ready, $subject:expr) => {
        $crate::contract!(@tests $name, $client, $subject, errors_of_readiness_end_calls_unchanged);
    };
    (@tests $name:ident, $client:ident, $subject:expr, $readiness_law:ident) => {
        mod $name {
            use super::*;

            /// T-01
            #[test]
            fn calls_come_after_readiness() {
                $crate::run_paused(async {
                    $crate::laws::calls_come_after_readiness::<$crate::$client, _>($subject).await;
                });
            }

            /// T-03
            #[test]
            fn a_dropped_call_releases_all() {
                $crate::run_paused(async {
                    $crate::laws::a_dropped_call_releases_all::<$crate::$client, _>(|| $subject)
                        .await;
                });
            }

            /// T-04
            #[test]
            fn a_panic_releases_all() {
                $crate::run_paused(async {
                    $crate::laws::a_panic_releases_all::<$crate::$client, _>(|| $subject).await;
                });
            }

            /// T-05
            #[test]
            fn readiness_without_a_call_is_released() {
                $crate::run_paused(async {
                    $crate::laws::readiness_without_a_call_is_released::<$crate::$client, _>(
                        $subject,
                    )
                    .await;
                });
            }

            /// T-06
            #[test]
            fn waiting_does_not_spin() {
                $crate::run_paused(async {
                    $crate::laws::waiting_does_not_spin::<$crate::$client, _>(|| $subject).await;
                });
            }

            /// T-08
            #[test]
            fn errors_pass_unchanged() {
                $crate::run_paused(async {
                    $crate::laws::errors_of_calls_pass_unchanged::<$crate::$client, _>(|| $subject)
                        .await;
                    $crate::laws::$readiness_law::<$crate::$client, _>(|| $subject).await;
                });
            }

            /// T-13
            #[test]
            fn bodies_pass_unchanged() {
                $crate::run_paused(async {
                    $crate::laws::bodies_pass_unchanged::<$crate::$client, _>(|| $subject).await;
                });
            }
        }
    };
}
