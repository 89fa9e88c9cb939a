/// Implements the methods and traits that the layers of this crate share, besides those of [`policy_layer!`](towerkit_core::policy_layer).
///
/// The layer has two type parameters, its [options](crate::AnyLimitOptions) `O` and its protocol `P`, and the fields
/// `policies: PolicyLayer<$run<$policy<O>, O::NeedsEnd>, P>` and `state: LayerState<..>`. The policy has the fields `limit`, its state,
/// and `options: O`. If the type of the state is given, the layer gets the method `with`, which changes it.
macro_rules! limit_layer {
    ($layer:ident, $run:ident<$policy:ident> $(, $state:ident)?) => {
        impl<O: $crate::AnyLimitOptions, P> $layer<O, P> {
            $(fn with(mut self, set: impl FnOnce(&mut $state)) -> Self {
                let limit = &mut self.policies.policy_mut().get_mut().limit;
                set(limit);
                self.state.replace(limit.clone());
                self
            })?

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

        towerkit_core::policy_layer!(
            $layer<O> { state },
            $run<$policy<O>, <O as $crate::AnyLimitOptions>::NeedsEnd>,
            Plain where O: $crate::AnyLimitOptions
        );
    };
}

pub(crate) use limit_layer;
