use std::sync::{Arc, OnceLock};

use tower_layer::Layer;

use crate::{
    As, AsyncGuards, Guards, Observes, Only, Operations, Pair, Plain, Shape, Shared, Unbound,
    row::Pace,
};

/// A row of roles as one layer: one future, one body and one clock reading at each end.
///
/// Made by [`stack`], [`guard`], [`async_guard`] and [`observe`], and inside every layer of towerkit that is a guard or an observer.
#[derive(Debug, Clone)]
pub struct RowLayer<R: 'static, P = Unbound> {
    role: R,
    protocol: P,
    leak: bool,
    /// What all services of this layer share, made with the first: axum makes one for each connection, or even for each request.
    shared: Arc<OnceLock<Shared<R>>>,
}

impl<R, P> RowLayer<R, P> {
    /// Makes a row of one role.
    pub fn new(role: R, protocol: P) -> Self {
        Self {
            role,
            protocol,
            leak: false,
            shared: Arc::default(),
        }
    }

    /// Leaks the roles, once for this layer and its clones: calls no longer count references.
    ///
    /// Worth it where many threads share one service for as long as the process runs. In a row, leak the row and not its parts.
    #[must_use]
    pub fn leak(mut self) -> Self {
        self.leak = true;
        self.shared = Arc::default();
        self
    }

    /// Makes another role of the role, and keeps the protocol.
    #[must_use]
    pub fn map<T>(self, make: impl FnOnce(R) -> T) -> RowLayer<T, P> {
        RowLayer {
            role: make(self.role),
            protocol: self.protocol,
            leak: self.leak,
            shared: Arc::default(),
        }
    }

    /// Returns the role.
    pub fn role(&self) -> &R {
        &self.role
    }

    /// Returns true once this layer, or a clone of it that was not changed since, has made a service.
    pub fn is_used(&self) -> bool {
        self.shared.get().is_some()
    }

    /// Returns the role, to be changed. Services that were made before keep the old one.
    pub fn role_mut(&mut self) -> &mut R {
        self.shared = Arc::default();
        &mut self.role
    }
}

impl<S, R: Shape + Clone, P: Clone> Layer<S> for RowLayer<R, P> {
    type Service = <R::Pace as Pace>::Service<S, R, P>;

    fn layer(&self, inner: S) -> Self::Service {
        let roles = self.shared.get_or_init(|| {
            let role = self.role.clone();
            if self.leak {
                Shared::Leaked(Box::leak(Box::new(role)))
            } else {
                Shared::Counted(Arc::new(role))
            }
        });
        R::Pace::service(inner, roles.clone(), self.protocol.clone())
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
    fn said(&self) -> &Self::Protocol;

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
    fn only(self, operations: Operations) -> Only<Self> {
        Only::new(self, operations)
    }
}

impl<R, P> LayerExt for RowLayer<R, P> {
    type Protocol = P;
    type With<Q> = RowLayer<R, Q>;

    fn said(&self) -> &P {
        &self.protocol
    }

    fn protocol<Q>(self, protocol: Q) -> RowLayer<R, Q> {
        RowLayer {
            role: self.role,
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
    note = "in a row the protocol is said once, for the whole row: leave `.http()`, `.grpc()` and `.plain(..)` off the layers inside",
    note = "a driver such as a timeout is a layer of its own: put it between rows"
)]
pub trait IntoRole {
    /// The role.
    type Role: Shape;

    /// Takes the role out of the layer.
    fn into_role(self) -> Self::Role;
}

impl<R: Shape> IntoRole for RowLayer<R, Unbound> {
    type Role = R;

    fn into_role(self) -> R {
        self.role
    }
}

impl<R: Shape> IntoRole for RowLayer<R, Plain> {
    type Role = R;

    fn into_role(self) -> R {
        self.role
    }
}

impl<L: IntoRole> IntoRole for Option<L> {
    type Role = Option<L::Role>;

    fn into_role(self) -> Option<L::Role> {
        self.map(IntoRole::into_role)
    }
}

macro_rules! tuples {
    ($first:ident) => {};
    ($first:ident $($rest:ident)+) => {
        impl<$first: IntoRole, $($rest: IntoRole),+> IntoRole for ($first, $($rest),+)
        where
            Pair<$first::Role, tuples!(@role $($rest)+)>: Shape,
        {
            type Role = Pair<$first::Role, tuples!(@role $($rest)+)>;

            #[expect(non_snake_case, reason = "the macro names values after their types")]
            fn into_role(self) -> Self::Role {
                let ($first, $($rest),+) = self;
                Pair($first.into_role(), tuples!(@value $($rest)+))
            }
        }
        tuples!($($rest)+);
    };
    (@role $last:ident) => { $last::Role };
    (@role $first:ident $($rest:ident)+) => { Pair<$first::Role, tuples!(@role $($rest)+)> };
    (@value $last:ident) => { $last.into_role() };
    (@value $first:ident $($rest:ident)+) => { Pair($first.into_role(), tuples!(@value $($rest)+)) };
}

tuples!(A B C D E F G H I J K L);

/// Fuses up to twelve guards and observers into one layer, the first outermost.
///
/// The result needs a protocol: `.http()`, `.grpc()` or [`.plain("operation")`](LayerExt::plain).
#[must_use]
pub fn stack<L: IntoRole>(layers: L) -> RowLayer<L::Role> {
    RowLayer::new(layers.into_role(), Unbound)
}

/// Makes a layer of a [`Guard`](crate::Guard) that is shared by all services the layer makes.
#[must_use]
pub fn guard<G>(guard: G) -> RowLayer<Guards<Arc<G>>, Plain> {
    RowLayer::new(As::new(Arc::new(guard)), Plain::default())
}

/// Makes a layer of an [`AsyncGuard`](crate::AsyncGuard) that is shared by all services the layer makes.
#[must_use]
pub fn async_guard<G>(guard: G) -> RowLayer<AsyncGuards<Arc<G>>, Plain> {
    RowLayer::new(As::new(Arc::new(guard)), Plain::default())
}

/// Makes a layer of an [`Observer`](crate::Observer) that is shared by all services the layer makes.
#[must_use]
pub fn observe<O>(observer: O) -> RowLayer<Observes<Arc<O>>> {
    RowLayer::new(As::new(Arc::new(observer)), Unbound)
}
