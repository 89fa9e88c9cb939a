/// Implements the traits that the layers of this crate share.
///
/// The layer has two type parameters, its [options](crate::AnyLimitOptions) `O` and its protocol `P`, and the fields
/// `policies: PolicyLayer<$run<$policy<O>, O::NeedsEnd>, P>` and `state: LayerState<..>`. The policy has a field `options: O`.
macro_rules! limit_layer {
    ($layer:ident, $run:ident<$policy:ident>) => {
        impl<O: $crate::AnyLimitOptions, P> $layer<O, P> {
            /// Leaks the state of this layer, once, see [`PolicyLayer::leak`](towerkit_core::PolicyLayer::leak).
            #[must_use]
            pub fn leak(mut self) -> Self {
                self.policies = self.policies.leak();
                self
            }

            fn map_options<Q: $crate::AnyLimitOptions>(
                self,
                f: impl FnOnce(O) -> Q,
            ) -> $layer<Q, P> {
                let map = |run: $run<$policy<O>, O::NeedsEnd>| {
                    let $policy { limit, options } = run.get().clone();
                    $run::new($policy {
                        limit,
                        options: f(options),
                    })
                };
                $layer {
                    policies: self.policies.map(map),
                    state: self.state,
                }
            }
        }

        impl<O: $crate::AnyLimitOptions, P: Clone> Clone for $layer<O, P> {
            fn clone(&self) -> Self {
                Self {
                    policies: self.policies.clone(),
                    state: self.state.clone(),
                }
            }
        }

        impl<O: $crate::AnyLimitOptions, P> std::fmt::Debug for $layer<O, P> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($layer))
                    .field("limit", self.policies.policy())
                    .finish_non_exhaustive()
            }
        }

        impl<S, O: $crate::AnyLimitOptions, P: Clone> towerkit_core::Layer<S> for $layer<O, P> {
            type Service =
                <PolicyLayer<$run<$policy<O>, O::NeedsEnd>, P> as towerkit_core::Layer<S>>::Service;

            fn layer(&self, inner: S) -> Self::Service {
                self.state.mark_used();
                self.policies.layer(inner)
            }
        }

        impl<O: $crate::AnyLimitOptions, P> towerkit_core::LayerExt for $layer<O, P> {
            type Protocol = P;
            type With<Q> = $layer<O, Q>;

            fn current_protocol(&self) -> &P {
                self.policies.current_protocol()
            }

            fn protocol<Q>(self, protocol: Q) -> $layer<O, Q> {
                $layer {
                    policies: self.policies.protocol(protocol),
                    state: self.state,
                }
            }
        }

        impl<O: $crate::AnyLimitOptions> towerkit_core::IntoPolicy for $layer<O, Plain> {
            type Policy = $run<$policy<O>, O::NeedsEnd>;

            fn into_policy(self) -> Self::Policy {
                self.state.mark_used();
                self.policies.into_policy()
            }
        }
    };
}

pub(crate) use limit_layer;
