/// Makes a layer of a struct that has the fields `policies: PolicyLayer<$role, P>` and `state: LayerState<..>`, and two type parameters, the
/// terms of its limit and its protocol `P`.
macro_rules! layer_of {
    ($layer:ident<$terms:ident: $bound:ident>, $role:ty) => {
        impl<$terms: $bound, P> $layer<$terms, P> {
            /// Leaks the state of this layer, once, see [`PolicyLayer::leak`](towerkit_core::PolicyLayer::leak).
            #[must_use]
            pub fn leak(mut self) -> Self {
                self.policies = self.policies.leak();
                self
            }
        }

        impl<$terms: $bound, P: Clone> Clone for $layer<$terms, P> {
            fn clone(&self) -> Self {
                Self {
                    policies: self.policies.clone(),
                    state: self.state.clone(),
                }
            }
        }

        impl<$terms: $bound, P> std::fmt::Debug for $layer<$terms, P> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($layer))
                    .field("limit", self.policies.policies())
                    .finish_non_exhaustive()
            }
        }

        impl<S, $terms: $bound, P: Clone> towerkit_core::Layer<S> for $layer<$terms, P> {
            type Service =
                <towerkit_core::PolicyLayer<$role, P> as towerkit_core::Layer<S>>::Service;

            fn layer(&self, inner: S) -> Self::Service {
                self.state.mark_used();
                self.policies.layer(inner)
            }
        }

        impl<$terms: $bound, P> towerkit_core::LayerExt for $layer<$terms, P> {
            type Protocol = P;
            type With<Q> = $layer<$terms, Q>;

            fn current_protocol(&self) -> &P {
                self.policies.current_protocol()
            }

            fn protocol<Q>(self, protocol: Q) -> $layer<$terms, Q> {
                $layer {
                    policies: self.policies.protocol(protocol),
                    state: self.state,
                }
            }
        }

        impl<$terms: $bound> towerkit_core::IntoPolicy for $layer<$terms, towerkit_core::Plain> {
            type RunPolicy = $role;

            fn into_policies(self) -> $role {
                self.state.mark_used();
                self.policies.into_policies()
            }
        }
    };
}

pub(crate) use layer_of;
