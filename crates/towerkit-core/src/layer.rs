use std::sync::{Arc, OnceLock};

use tower_layer::Layer;

use crate::{
    AsAsyncGuard, AsGuard, AsObserver, NoProtocol, Only, OperationSet, Pair, Plain, PolicyAs,
    PolicyShape, SharedPolicies, service::AdmissionMode,
};

/// A policy stack of policies as one layer: one future, one body and one clock reading at each end.
///
/// Made by [`stack`], [`guard`], [`async_guard`] and [`observe`], and inside every layer of towerkit that is a guard or an observer.
#[derive(Debug, Clone)]
pub struct PolicyLayer<R: 'static, P = NoProtocol> {
    policy: R,
    protocol: P,
    leak: bool,
    /// What all services of this layer share, made with the first: axum makes one for each connection, or even for each request.
    shared: Arc<OnceLock<SharedPolicies<R>>>,
}

impl<R, P> PolicyLayer<R, P> {
    /// Makes a policy stack of one policy.
    pub fn new(policy: R, protocol: P) -> Self {
        Self {
            policy,
            protocol,
            leak: false,
            shared: Arc::default(),
        }
    }

    /// Leaks the policies, once for this layer and its clones: calls no longer count references.
    ///
    /// Worth it where many threads share one service for as long as the process runs. In a policy stack, leak the policy stack and not its parts.
    #[must_use]
    pub fn leak(mut self) -> Self {
        self.leak = true;
        self.shared = Arc::default();
        self
    }

    /// Makes another policy of the policy, and keeps the protocol.
    #[must_use]
    pub fn map<T>(self, make: impl FnOnce(R) -> T) -> PolicyLayer<T, P> {
        PolicyLayer {
            policy: make(self.policy),
            protocol: self.protocol,
            leak: self.leak,
            shared: Arc::default(),
        }
    }

    /// Returns the policy.
    pub fn policy(&self) -> &R {
        &self.policy
    }

    /// Returns true once this layer, or a clone of it that was not changed since, has made a service.
    pub fn is_used(&self) -> bool {
        self.shared.get().is_some()
    }

    /// Returns the policy, to be changed. Services that were made before keep the old one.
    pub fn policy_mut(&mut self) -> &mut R {
        self.shared = Arc::default();
        &mut self.policy
    }
}

impl<S, R: PolicyShape + Clone, P: Clone> Layer<S> for PolicyLayer<R, P> {
    type Service = <R::AdmissionMode as AdmissionMode>::Service<S, R, P>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = self.shared.get_or_init(|| {
            let policy = self.policy.clone();
            if self.leak {
                SharedPolicies::Leaked(Box::leak(Box::new(policy)))
            } else {
                SharedPolicies::Counted(Arc::new(policy))
            }
        });
        R::AdmissionMode::service(inner, policies.clone(), self.protocol.clone())
    }
}

/// Says how a layer reads calls.
///
/// `towerkit_http::HttpExt` adds `.http()` and `.grpc()`.
pub trait LayerExt: Sized {
    /// How it reads calls so far.
    type Protocol;

    /// The same layer with another protocol.
    type With<Q>;

    /// Returns how it reads calls so far.
    fn current_protocol(&self) -> &Self::Protocol;

    /// Reads calls by `protocol`, for example `Http::new().classify(..)`.
    #[must_use]
    fn protocol<Q>(self, protocol: Q) -> Self::With<Q>;

    /// Reads calls of a service without a wire protocol, and names them `operation` in logs and metrics.
    #[must_use]
    fn plain(self, operation: &'static str) -> Self::With<Plain> {
        self.protocol(Plain::new(operation))
    }

    /// Applies the layer to these operations only; all others pass it by.
    #[must_use]
    fn only(self, operations: OperationSet) -> Only<Self> {
        Only::new(self, operations)
    }
}

impl<R, P> LayerExt for PolicyLayer<R, P> {
    type Protocol = P;
    type With<Q> = PolicyLayer<R, Q>;

    fn current_protocol(&self) -> &P {
        &self.protocol
    }

    fn protocol<Q>(self, protocol: Q) -> PolicyLayer<R, Q> {
        PolicyLayer {
            policy: self.policy,
            protocol,
            leak: self.leak,
            shared: self.shared,
        }
    }
}

/// A layer that can stand in a row: a guard or an observer whose protocol is not said, or several as a tuple.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in a row",
    label = "not a guard or an observer without a protocol",
    note = "in a row the protocol is said once, for the whole policy stack: leave `.http()`, `.grpc()` and `.plain(..)` off the layers inside",
    note = "a driver such as a timeout is a layer of its own: put it between policy stacks"
)]
pub trait IntoPolicy {
    /// The policy.
    type Policy: PolicyShape;

    /// Takes the policy out of the layer.
    fn into_policy(self) -> Self::Policy;
}

impl<R: PolicyShape> IntoPolicy for PolicyLayer<R, NoProtocol> {
    type Policy = R;

    fn into_policy(self) -> R {
        self.policy
    }
}

impl<R: PolicyShape> IntoPolicy for PolicyLayer<R, Plain> {
    type Policy = R;

    fn into_policy(self) -> R {
        self.policy
    }
}

impl<L: IntoPolicy> IntoPolicy for Option<L> {
    type Policy = Option<L::Policy>;

    fn into_policy(self) -> Option<L::Policy> {
        self.map(IntoPolicy::into_policy)
    }
}

macro_rules! tuples {
    ($first:ident) => {};
    ($first:ident $($rest:ident)+) => {
        impl<$first: IntoPolicy, $($rest: IntoPolicy),+> IntoPolicy for ($first, $($rest),+) {
            type Policy = Pair<$first::Policy, tuples!(@policy $($rest)+)>;

            #[expect(non_snake_case, reason = "the macro names values after their types")]
            fn into_policy(self) -> Self::Policy {
                let ($first, $($rest),+) = self;
                Pair($first.into_policy(), tuples!(@value $($rest)+))
            }
        }
        tuples!($($rest)+);
    };
    (@policy $last:ident) => { $last::Policy };
    (@policy $first:ident $($rest:ident)+) => { Pair<$first::Policy, tuples!(@policy $($rest)+)> };
    (@value $last:ident) => { $last.into_policy() };
    (@value $first:ident $($rest:ident)+) => { Pair($first.into_policy(), tuples!(@value $($rest)+)) };
}

tuples!(A B C D E F G H I J K L);

/// Fuses up to twelve guards and observers into one layer, the first outermost.
///
/// The result needs a protocol: `.http()`, `.grpc()` or [`.plain("operation")`](LayerExt::plain).
#[must_use]
pub fn stack<L: IntoPolicy>(layers: L) -> PolicyLayer<L::Policy> {
    PolicyLayer::new(layers.into_policy(), NoProtocol)
}

/// Makes a layer of a [`Guard`](crate::Guard) that is shared by all services the layer makes.
#[must_use]
pub fn guard<G>(guard: G) -> PolicyLayer<AsGuard<Arc<G>>, Plain> {
    PolicyLayer::new(PolicyAs::new(Arc::new(guard)), Plain::default())
}

/// Makes a layer of an [`AsyncGuard`](crate::AsyncGuard) that is shared by all services the layer makes.
#[must_use]
pub fn async_guard<G>(guard: G) -> PolicyLayer<AsAsyncGuard<Arc<G>>, Plain> {
    PolicyLayer::new(PolicyAs::new(Arc::new(guard)), Plain::default())
}

/// Makes a layer of an [`Observer`](crate::Observer) that is shared by all services the layer makes.
#[must_use]
pub fn observe<O>(observer: O) -> PolicyLayer<AsObserver<Arc<O>>> {
    PolicyLayer::new(PolicyAs::new(Arc::new(observer)), NoProtocol)
}
