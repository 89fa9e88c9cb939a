/// Makes a layer of a struct that has the fields `row: RowLayer<$role, P>` and `state: LayerState<..>`, and two type parameters, the
/// terms of its limit and its protocol `P`.
macro_rules! layer_of {
    ($layer:ident<$terms:ident: $bound:ident>, $role:ty) => {
        impl<$terms: $bound, P> $layer<$terms, P> {
            /// Leaks the state of this layer, once, see [`RowLayer::leak`](towerkit_core::RowLayer::leak).
            #[must_use]
            pub fn leak(mut self) -> Self {
                self.row = self.row.leak();
                self
            }
        }

        impl<$terms: $bound, P: Clone> Clone for $layer<$terms, P> {
            fn clone(&self) -> Self {
                Self {
                    row: self.row.clone(),
                    state: self.state.clone(),
                }
            }
        }

        impl<$terms: $bound, P> std::fmt::Debug for $layer<$terms, P> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($layer))
                    .field("limit", self.row.role())
                    .finish_non_exhaustive()
            }
        }

        impl<S, $terms: $bound, P: Clone> towerkit_core::Layer<S> for $layer<$terms, P> {
            type Service = <towerkit_core::RowLayer<$role, P> as towerkit_core::Layer<S>>::Service;

            fn layer(&self, inner: S) -> Self::Service {
                self.state.mark_used();
                self.row.layer(inner)
            }
        }

        impl<$terms: $bound, P> towerkit_core::LayerExt for $layer<$terms, P> {
            type Protocol = P;
            type With<Q> = $layer<$terms, Q>;

            fn said(&self) -> &P {
                self.row.said()
            }

            fn protocol<Q>(self, protocol: Q) -> $layer<$terms, Q> {
                $layer {
                    row: self.row.protocol(protocol),
                    state: self.state,
                }
            }
        }

        impl<$terms: $bound> towerkit_core::IntoRole for $layer<$terms, towerkit_core::Plain> {
            type Role = $role;

            fn into_role(self) -> $role {
                self.state.mark_used();
                self.row.into_role()
            }
        }
    };
}

pub(crate) use layer_of;
