use std::sync::{Arc, OnceLock};

use tower_layer::Layer;

use crate::{
    AsAsyncGuard, AsGuard, AsObserver, AsyncPolicyService, NoProtocol, Only, OnlyPolicy,
    OnlyService, OperationSet, Pair, Plain, PolicyAs, PolicyService, PolicyShape, SharedPolicies,
    TypeBool,
};

/// A layer that runs one policy, or a stack of policies as one.
///
/// [`stack`], [`guard`], [`async_guard`] and [`observe`] make it, and every guard and observer of towerkit contains it. Its service is a
/// [`PolicyService`](crate::PolicyService) or, if a policy may wait, an [`AsyncPolicyService`](crate::AsyncPolicyService).
///
/// All services that the layer and its clones make share the policies.
#[derive(Debug, Clone)]
pub struct PolicyLayer<R: 'static, P = NoProtocol> {
    policy: R,
    protocol: P,
    leak: bool,
    /// The policies that all services of this layer share, made with the first service: axum makes one per connection or request.
    shared: Arc<OnceLock<SharedPolicies<R>>>,
}

impl<R, P> PolicyLayer<R, P> {
    /// Makes a layer of a policy, such as an [`AsGuard`] or an [`AsObserver`].
    pub fn new(policy: R, protocol: P) -> Self {
        Self {
            policy,
            protocol,
            leak: false,
            shared: Arc::default(),
        }
    }

    /// Leaks the policies of this layer and its clones, once: calls no longer count references to them.
    ///
    /// This is faster if many threads call one service. The memory is never freed, so that it suits a service that lives as long as the
    /// process. Leak a [`stack`], not the layers in it.
    #[must_use]
    pub fn leak(mut self) -> Self {
        self.leak = true;
        self.shared = Arc::default();
        self
    }

    /// Replaces the policy by one made of it.
    #[doc(hidden)]
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
    #[doc(hidden)]
    pub fn policy(&self) -> &R {
        &self.policy
    }

    /// Returns true if this layer, or a clone of it, has made a service since the last change.
    #[doc(hidden)]
    pub fn is_used(&self) -> bool {
        self.shared.get().is_some()
    }

    /// Returns the policy for a change. Services that were made before keep the old policy.
    #[doc(hidden)]
    pub fn policy_mut(&mut self) -> &mut R {
        self.shared = Arc::default();
        &mut self.policy
    }
}

impl<S, R: PolicyShape + Clone, P: Clone> Layer<S> for PolicyLayer<R, P> {
    type Service =
        <R::MayWait as TypeBool>::Choose<AsyncPolicyService<S, R, P>, PolicyService<S, R, P>>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = self.shared.get_or_init(|| {
            let policy = self.policy.clone();
            if self.leak {
                SharedPolicies::Leaked(Box::leak(Box::new(policy)))
            } else {
                SharedPolicies::Counted(Arc::new(policy))
            }
        });
        R::MayWait::choose(
            (inner, policies.clone(), self.protocol.clone()),
            |(inner, policies, protocol)| AsyncPolicyService::new(inner, policies, protocol),
            |(inner, policies, protocol)| PolicyService::new(inner, policies, protocol),
        )
    }
}

/// Methods that every layer of towerkit has: they choose its [`Protocol`] and the operations that it applies to.
///
/// A protocol tells a layer how to read a request and when a call ends. [`plain`](Self::plain) suits any service without a wire
/// protocol; `towerkit_http::HttpExt` adds `.http()`, `.grpc()` and `.axum()`. A guard or an observer inside a [`stack`] has no
/// protocol of its own: the stack has one.
///
/// ```
/// use tower::{ServiceBuilder, ServiceExt};
/// use towerkit_core::{BoxError, LayerExt, OperationSet, Plain};
/// # use towerkit_core::{Call, CallEnd, Guard, Policy, Rejection, RejectionReason, guard};
/// # struct Maintenance;
/// # impl Policy for Maintenance { type CallState = (); fn finish(&self, _: (), _: &CallEnd) {} }
/// # impl<Req> Guard<Req> for Maintenance {
/// #     fn admit(&self, _: &mut Call<'_, Req>) -> Result<(), Rejection> { Err(Rejection::new(RejectionReason::Unavailable, "maintenance")) }
/// # }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// // Rejects every call of the operation "write".
/// let layer = guard(Maintenance).only(OperationSet::exact("write"));
///
/// let double = tower::service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) });
/// let read = ServiceBuilder::new().layer(layer.clone().plain("read")).service(double);
/// let write = ServiceBuilder::new().layer(layer.plain("write")).service(double);
///
/// assert_eq!(read.oneshot(4).await.unwrap(), 8);
/// assert_eq!(write.oneshot(4).await.unwrap_err().to_string(), "maintenance: unavailable");
/// # });
/// ```
///
/// [`Protocol`]: crate::Protocol
pub trait LayerExt: Sized {
    /// The protocol of this layer; [`NoProtocol`] before one is chosen.
    type Protocol;

    /// The same layer with another protocol.
    type With<Q>;

    /// Returns the protocol of this layer.
    #[doc(hidden)]
    fn current_protocol(&self) -> &Self::Protocol;

    /// Reads calls by `protocol`, such as `Http::new().classify(..)`.
    #[must_use]
    fn protocol<Q>(self, protocol: Q) -> Self::With<Q>;

    /// Reads calls of a service without a wire protocol. `operation` is their name in logs and metrics.
    #[must_use]
    fn plain(self, operation: &'static str) -> Self::With<Plain> {
        self.protocol(Plain::new(operation))
    }

    /// Applies the layer to these operations only. Calls of other operations go to the inner service.
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

/// A layer that can be part of a [`stack`]: a guard or an observer without a protocol of its own, or a tuple of them.
///
/// [`policy_layer!`](crate::policy_layer) implements it. `Option<L>` can be part of a stack, too: `None` does nothing, as `()` does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a policy stack",
    label = "not a guard or an observer without a protocol",
    note = "a policy stack has one protocol: call `.http()`, `.grpc()` or `.plain(..)` on the stack, not on the layers in it",
    note = "a driver such as a timeout is a layer of its own: put it between two policy stacks"
)]
pub trait IntoPolicy {
    /// The policy.
    type Policy: PolicyShape;

    /// Returns the policy of the layer.
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

/// No policies at all.
impl IntoPolicy for () {
    type Policy = ();

    fn into_policy(self) {}
}

impl<L: LayerExt> LayerExt for Only<L> {
    type Protocol = L::Protocol;
    type With<Q> = Only<L::With<Q>>;

    fn current_protocol(&self) -> &L::Protocol {
        self.layer.current_protocol()
    }

    fn protocol<Q>(self, protocol: Q) -> Only<L::With<Q>> {
        Only::new(self.layer.protocol(protocol), self.operations)
    }
}

impl<S, L> Layer<S> for Only<L>
where
    L: LayerExt<Protocol: Clone> + Layer<S>,
{
    type Service = OnlyService<L::Service, L::Protocol>;

    fn layer(&self, inner: S) -> Self::Service {
        OnlyService {
            service: self.layer.layer(inner),
            protocol: self.layer.current_protocol().clone(),
            operations: self.operations.clone(),
        }
    }
}

impl<L: IntoPolicy> IntoPolicy for Only<L> {
    type Policy = OnlyPolicy<L::Policy>;

    fn into_policy(self) -> OnlyPolicy<L::Policy> {
        OnlyPolicy {
            policy: self.layer.into_policy(),
            operations: self.operations,
        }
    }
}

macro_rules! tuples {
    ($first:ident) => {
        impl<$first: IntoPolicy> IntoPolicy for ($first,) {
            type Policy = $first::Policy;

            fn into_policy(self) -> Self::Policy {
                self.0.into_policy()
            }
        }
    };
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

/// Combines up to twelve guards and observers into one layer, the first outermost.
///
/// The layers of a stack run as one middleware: with one future, one response body, and one clock reading at the start and at the end of
/// a call. They see calls as if they were separate layers: an observer outside of a guard sees the calls that the guard rejects, and a
/// guard releases its permit however the call ends.
///
/// The result needs a protocol: [`.plain("operation")`](LayerExt::plain), or `.http()`, `.grpc()` or `.axum()` of `towerkit_http`.
/// Layers that call the inner service in their own way, such as a timeout or a retry, are not part of a stack; put them between stacks.
///
/// ```
/// use tower::{ServiceBuilder, ServiceExt};
/// use towerkit_core::{BoxError, LayerExt, guard, observe, stack};
/// # use std::sync::{Arc, atomic::{AtomicU64, Ordering::Relaxed}};
/// # use towerkit_core::{Call, CallEnd, Guard, Observer, Policy, Rejection, RejectionReason};
/// # #[derive(Default)]
/// # struct CallCount(AtomicU64);
/// # impl Policy for CallCount { type CallState = (); fn finish(&self, _: (), _: &CallEnd) { self.0.fetch_add(1, Relaxed); } }
/// # impl<Req> Observer<Req> for CallCount { fn start(&self, _: &mut Call<'_, Req>) {} }
/// # struct Maintenance;
/// # impl Policy for Maintenance { type CallState = (); fn finish(&self, _: (), _: &CallEnd) {} }
/// # impl<Req> Guard<Req> for Maintenance {
/// #     fn admit(&self, _: &mut Call<'_, Req>) -> Result<(), Rejection> { Err(Rejection::new(RejectionReason::Unavailable, "maintenance")) }
/// # }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let count = Arc::new(CallCount::default());
/// let layer = stack((observe(Arc::clone(&count)), guard(Maintenance)));
///
/// let service = ServiceBuilder::new()
///     .layer(layer.plain("double"))
///     .service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) });
///
/// assert!(service.oneshot(4).await.is_err());
/// assert_eq!(count.0.load(Relaxed), 1);
/// # });
/// ```
#[must_use]
pub fn stack<L: IntoPolicy>(layers: L) -> PolicyLayer<L::Policy> {
    PolicyLayer::new(layers.into_policy(), NoProtocol)
}

/// Makes a layer of a [`Guard`](crate::Guard), which all services of the layer share.
#[must_use]
pub fn guard<G>(guard: G) -> PolicyLayer<AsGuard<Arc<G>>, Plain> {
    PolicyLayer::new(PolicyAs::new(Arc::new(guard)), Plain::default())
}

/// Makes a layer of an [`AsyncGuard`](crate::AsyncGuard), which all services of the layer share.
#[must_use]
pub fn async_guard<G>(guard: G) -> PolicyLayer<AsAsyncGuard<Arc<G>>, Plain> {
    PolicyLayer::new(PolicyAs::new(Arc::new(guard)), Plain::default())
}

/// Makes a layer of an [`Observer`](crate::Observer), which all services of the layer share.
#[must_use]
pub fn observe<O>(observer: O) -> PolicyLayer<AsObserver<Arc<O>>> {
    PolicyLayer::new(PolicyAs::new(Arc::new(observer)), NoProtocol)
}
