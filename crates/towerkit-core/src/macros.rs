/// Makes a layer of a struct that has a field `row: RowLayer<$role, P>` and one type parameter, its protocol `P`.
///
/// Other fields, which stay as they are when a protocol is said, are named in braces: `row_layer!(MyLayer { state }, ..)`.
///
/// Implements [`Layer`](tower_layer::Layer), [`LayerExt`](crate::LayerExt) and, for the protocol `$unsaid` that the layer has until
/// one is said, [`IntoRole`](crate::IntoRole).
#[macro_export]
macro_rules! row_layer {
    ($layer:ident $({ $($field:ident),+ })?, $role:ty, $unsaid:ty) => {
        impl<P> $layer<P> {
            /// Leaks the state of this layer, once, see
            /// [`RowLayer::leak`](towerkit_core::RowLayer::leak).
            #[must_use]
            pub fn leak(mut self) -> Self {
                self.row = self.row.leak();
                self
            }
        }

        impl<S, P: Clone> $crate::Layer<S> for $layer<P> {
            type Service = <$crate::RowLayer<$role, P> as $crate::Layer<S>>::Service;

            fn layer(&self, inner: S) -> Self::Service {
                self.row.layer(inner)
            }
        }

        impl<P> $crate::LayerExt for $layer<P> {
            type Protocol = P;
            type With<Q> = $layer<Q>;

            fn said(&self) -> &P {
                self.row.said()
            }

            fn protocol<Q>(self, protocol: Q) -> $layer<Q> {
                $layer {
                    row: self.row.protocol(protocol),
                    $($($field: self.$field,)+)?
                }
            }
        }

        impl $crate::IntoRole for $layer<$unsaid> {
            type Role = $role;

            fn into_role(self) -> $role {
                self.row.into_role()
            }
        }
    };
}
