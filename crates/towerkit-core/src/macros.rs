/// Implements the traits of a layer whose struct wraps a [`PolicyLayer`](crate::PolicyLayer).
///
/// `policy_layer!(MyLayer, AsGuard<MyPolicy>, Plain)` takes the layer, its policy and the protocol that it starts with:
/// [`Plain`](crate::Plain) for a guard, [`NoProtocol`](crate::NoProtocol) for an observer. The struct has the protocol as its last type
/// parameter and a field `policies: PolicyLayer<AsGuard<MyPolicy>, P>`.
///
/// The macro implements [`Layer`](crate::Layer), [`LayerExt`](crate::LayerExt) and, for the protocol at the start,
/// [`IntoPolicy`](crate::IntoPolicy), so that the layer also fits into a [`stack`](crate::stack); and it adds the method `leak`.
/// [`layer_setters!`](crate::layer_setters) adds the setters that layers have in common.
///
/// Two forms are longer:
///
/// - `policy_layer!(MyLayer { state }, ..)` names further fields, which are [`LayerState`](crate::LayerState)s. Each is marked as used
///   when the layer makes a service or becomes a part of a stack, so that a later setter begins a new state.
/// - `policy_layer!(MyLayer<K>, AsGuard<MyPolicy<K>>, Plain where K: MyKey + 'static)` names further type parameters and their bounds.
///
/// ```
/// use towerkit_core::{AsGuard, Name, Plain, PolicyLayer, layer_setters, policy_layer};
/// # use towerkit_core::{Call, CallEnd, Guard, Policy, Rejection};
/// # impl Policy for Maintenance { type CallState = (); const NEEDS_END: bool = false; fn finish(&self, _: (), _: &CallEnd) {} }
/// # impl<Req> Guard<Req> for Maintenance { fn admit(&self, _: &mut Call<'_, Req>) -> Result<(), Rejection> { Ok(()) } }
///
/// #[derive(Debug, Clone)]
/// pub struct Maintenance {
///     name: Name,
/// }
///
/// #[derive(Debug, Clone)]
/// pub struct MaintenanceLayer<P = Plain> {
///     policies: PolicyLayer<AsGuard<Maintenance>, P>,
/// }
///
/// impl<P> MaintenanceLayer<P> {
///     layer_setters!(
///         /// Rejections carry the name.
///         name = "maintenance"
///     );
///
///     fn with(mut self, set: impl FnOnce(&mut Maintenance)) -> Self {
///         set(self.policies.policy_mut().get_mut());
///         self
///     }
/// }
///
/// policy_layer!(MaintenanceLayer, AsGuard<Maintenance>, Plain);
/// ```
#[macro_export]
macro_rules! policy_layer {
    (
        $layer:ident $(<$($param:ident),+>)? $({ $($state:ident),+ })?, $policy:ty, $start:ty
        $(where $($bounds:tt)*)?
    ) => {
        impl<$($($param,)+)? P> $layer<$($($param,)+)? P>
        $(where $($bounds)*)?
        {
            /// Leaks the state of this layer and its clones, once: calls no longer count references to it.
            ///
            /// See [`PolicyLayer::leak`](towerkit_core::PolicyLayer::leak).
            #[must_use]
            pub fn leak(mut self) -> Self {
                self.policies = self.policies.leak();
                self
            }
        }

        impl<S, $($($param,)+)? P: Clone> $crate::Layer<S> for $layer<$($($param,)+)? P>
        $(where $($bounds)*)?
        {
            type Service = <$crate::PolicyLayer<$policy, P> as $crate::Layer<S>>::Service;

            fn layer(&self, inner: S) -> Self::Service {
                $($(self.$state.mark_used();)+)?
                self.policies.layer(inner)
            }
        }

        impl<$($($param,)+)? P> $crate::LayerExt for $layer<$($($param,)+)? P>
        $(where $($bounds)*)?
        {
            type Protocol = P;
            type With<Q> = $layer<$($($param,)+)? Q>;

            fn current_protocol(&self) -> &P {
                self.policies.current_protocol()
            }

            fn protocol<Q>(self, protocol: Q) -> Self::With<Q> {
                $layer {
                    policies: self.policies.protocol(protocol),
                    $($($state: self.$state,)+)?
                }
            }
        }

        impl<$($($param,)+)?> $crate::IntoPolicy for $layer<$($($param,)+)? $start>
        $(where $($bounds)*)?
        {
            type Policy = $policy;

            fn into_policy(self) -> $policy {
                $($(self.$state.mark_used();)+)?
                self.policies.into_policy()
            }
        }
    };
}

/// Makes the setters that all layers have in common: `name`, `clock` and `events`.
///
/// Stands in an `impl` block of the layer and names the setters: `layer_setters!(name = "retry", clock, events)`, with the default of
/// the name. The block has a method `with(self, set: impl FnOnce(&mut Config)) -> Self`, which applies a change to the configuration
/// of the layer; `Config` has a field for each setter:
///
/// | setter | field |
/// |---|---|
/// | `name = ".."` | `name: `[`Name`](crate::Name) |
/// | `clock` | `clock: `[`Clock`](crate::Clock) |
/// | `events` | `events: `[`EventQueue`](crate::EventQueue) |
///
/// Doc attributes in front of a setter follow its first line. [`policy_layer!`](crate::policy_layer) shows an example.
#[macro_export]
macro_rules! layer_setters {
    () => {};
    ($(#[$doc:meta])* name = $default:literal $(, $($rest:tt)*)?) => {
        #[doc = concat!("Names this layer; `", $default, "` by default.")]
        ///
        $(#[$doc])*
        #[must_use]
        pub fn name(self, name: impl Into<$crate::Name>) -> Self {
            self.with(|config| config.name = name.into())
        }
        $($crate::layer_setters!($($rest)*);)?
    };
    ($(#[$doc:meta])* clock $(, $($rest:tt)*)?) => {
        /// Reads time from `clock`; [`Clock::monotonic`](towerkit_core::Clock::monotonic) by default.
        ///
        $(#[$doc])*
        #[must_use]
        pub fn clock(self, clock: $crate::Clock) -> Self {
            self.with(|config| config.clock = clock)
        }
        $($crate::layer_setters!($($rest)*);)?
    };
    ($(#[$doc:meta])* events $(, $($rest:tt)*)?) => {
        /// Reports the [`Event`](towerkit_core::Event)s of this layer to `sink`; to no sink by default.
        ///
        $(#[$doc])*
        #[must_use]
        pub fn events(self, sink: impl $crate::EventSink + 'static) -> Self {
            let events = $crate::EventQueue::new(Some(::std::sync::Arc::new(sink)));
            self.with(|config| config.events = events)
        }
        $($crate::layer_setters!($($rest)*);)?
    };
}
