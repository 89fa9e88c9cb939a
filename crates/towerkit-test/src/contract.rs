/// Makes a module of tests of a [`Subject`](crate::Subject), one for each law that needs only the layer: all but T-02, T-07 and T-12.
///
/// `contract!(name, PlainClient, subject)` takes the name of the module, the [client](crate::TestClient)
/// ([`PlainClient`](crate::PlainClient), [`RpcClient`](crate::RpcClient), [`HttpClient`](crate::HttpClient) or
/// [`GrpcClient`](crate::GrpcClient)), and an expression for a new subject, which is evaluated inside of a runtime with paused time.
#[macro_export]
macro_rules! contract {
    ($name:ident, $client:ident, $subject:expr) => {
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
                    $crate::laws::errors_pass_unchanged::<$crate::$client, _>(|| $subject).await;
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
