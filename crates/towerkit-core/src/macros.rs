/// Makes a layer of a struct that has a field `policies: PolicyLayer<$role, P>` and one type parameter, its protocol `P`.
///
/// Other fields, which stay as they are when a protocol is said, are named in braces: `policy_layer!(MyLayer { state }, ..)`.
///
/// Implements [`Layer`](tower_layer::Layer), [`LayerExt`](crate::LayerExt) and, for the protocol `$unsaid` that the layer has until
/// one is said, [`IntoPolicy`](crate::IntoPolicy).
#[macro_export]
macro_rules! policy_layer {
    ($layer:ident $({ $($field:ident),+ })?, $role:ty, $unsaid:ty) => {
        impl<P> $layer<P> {
            /// Leaks the state of this layer, once, see
            /// [`PolicyLayer::leak`](towerkit_core::PolicyLayer::leak).
            #[must_use]
            pub fn leak(mut self) -> Self {
                self.policies = self.policies.leak();
                self
            }
        }

        impl<S, P: Clone> $crate::Layer<S> for $layer<P> {
            type Service = <$crate::PolicyLayer<$role, P> as $crate::Layer<S>>::Service;

            fn layer(&self, inner: S) -> Self::Service {
                self.policies.layer(inner)
            }
        }

        impl<P> $crate::LayerExt for $layer<P> {
            type Protocol = P;
            type With<Q> = $layer<Q>;

            fn current_protocol(&self) -> &P {
                self.policies.current_protocol()
            }

            fn protocol<Q>(self, protocol: Q) -> $layer<Q> {
                $layer {
                    policies: self.policies.protocol(protocol),
                    $($($field: self.$field,)+)?
                }
            }
        }

        impl $crate::IntoPolicy for $layer<$unsaid> {
            type Policy = $role;

            fn into_policy(self) -> $role {
                self.policies.into_policy()
            }
        }
    };
}
