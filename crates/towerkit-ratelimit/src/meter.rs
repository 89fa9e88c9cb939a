use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use towerkit_core::{Call, CallEnd, True, TypeBool};

use crate::{fields::Fields, level::Level};

/// What a limit does with a call besides taking its tokens.
///
/// Implemented by what the setters of the layers make, and by nothing else.
pub trait Terms: Clone + 'static {
    /// Whether anything remains to be done after the call was admitted.
    type NeedsEnd: TypeBool;

    /// What is kept of an admitted call.
    type CallState: CallState;

    /// The same terms for a call that is followed to its end.
    type Followed: Terms;

    /// Follows calls to their end.
    #[doc(hidden)]
    fn followed(self, set: impl FnOnce(&mut After)) -> Self::Followed;

    /// Returns what is done afterwards.
    #[doc(hidden)]
    fn after(&self) -> &After;
}

/// How many tokens a call takes.
///
/// Implemented by what the setters of the layers make, and by nothing else.
pub trait Meter<Req>: Terms {
    /// Returns the cost of a call.
    fn cost(&self, call: &Call<'_, Req>) -> u32;
}

/// Every call takes one token, as by default.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct One;

/// Every call takes as many tokens as a function says.
#[derive(Debug)]
pub struct Cost<M, F>(M, Arc<F>);

/// Calls are followed to their end.
#[derive(Debug, Clone)]
pub struct Followed<M> {
    meter: M,
    after: After,
}

impl<M, F> Cost<M, F> {
    pub(crate) fn new(meter: M, cost: F) -> Self {
        Self(meter, Arc::new(cost))
    }

    pub(crate) fn inner(&self) -> &M {
        &self.0
    }
}

impl<M> Followed<M> {
    pub(crate) fn new(meter: M, set: impl FnOnce(&mut After)) -> Self {
        let mut after = After::NOTHING.clone();
        set(&mut after);
        Self { meter, after }
    }

    pub(crate) fn inner(&self) -> &M {
        &self.meter
    }
}

impl<M: Clone, F> Clone for Cost<M, F> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }
}

/// Terms that nothing was added to.
macro_rules! bare_terms {
    ($terms:ty $(, $param:ident)*) => {
        impl<$($param: 'static),*> $crate::Terms for $terms {
            type NeedsEnd = towerkit_core::False;
            type CallState = ();
            type Followed = $crate::Followed<Self>;

            fn followed(self, set: impl FnOnce(&mut $crate::After)) -> Self::Followed {
                $crate::Followed::new(self, set)
            }

            fn after(&self) -> &$crate::After {
                &$crate::After::NOTHING
            }
        }

        impl<Req $(, $param: 'static)*> $crate::Meter<Req> for $terms {
            #[inline(always)]
            fn cost(&self, _call: &towerkit_core::Call<'_, Req>) -> u32 {
                1
            }
        }
    };
}

pub(crate) use bare_terms;

bare_terms!(One);

impl<M: Terms, F: 'static> Terms for Cost<M, F> {
    type NeedsEnd = M::NeedsEnd;
    type CallState = M::CallState;
    type Followed = Cost<M::Followed, F>;

    fn followed(self, set: impl FnOnce(&mut After)) -> Self::Followed {
        Cost(self.0.followed(set), self.1)
    }

    fn after(&self) -> &After {
        self.0.after()
    }
}

impl<Req, M: Terms, F> Meter<Req> for Cost<M, F>
where
    F: Fn(&Call<'_, Req>) -> u32 + 'static,
{
    #[inline(always)]
    fn cost(&self, call: &Call<'_, Req>) -> u32 {
        (self.1)(call)
    }
}

impl<M: Terms> Terms for Followed<M> {
    type NeedsEnd = True;
    type CallState = Taken;
    type Followed = Self;

    fn followed(mut self, set: impl FnOnce(&mut After)) -> Self {
        set(&mut self.after);
        self
    }

    fn after(&self) -> &After {
        &self.after
    }
}

impl<Req, M: Meter<Req>> Meter<Req> for Followed<M> {
    #[inline(always)]
    fn cost(&self, call: &Call<'_, Req>) -> u32 {
        self.meter.cost(call)
    }
}

type CostAtEnd = dyn Fn(&CallEnd) -> u32 + Send + Sync;

/// What is done after a call was admitted.
#[doc(hidden)]
#[derive(Clone)]
pub struct After {
    cost: Option<Arc<CostAtEnd>>,
    fields: Option<Fields>,
}

impl After {
    pub(crate) const NOTHING: Self = Self {
        cost: None,
        fields: None,
    };

    pub(crate) fn set_cost(&mut self, cost: impl Fn(&CallEnd) -> u32 + Send + Sync + 'static) {
        self.cost = Some(Arc::new(cost));
    }

    pub(crate) fn set_fields(&mut self, fields: Fields) {
        self.fields = Some(fields);
    }

    pub(crate) fn fields(&self) -> Option<Fields> {
        self.fields
    }

    /// Returns what a call cost besides, now that it is over. A panic, of the service or of the function, costs nothing more.
    pub(crate) fn cost(&self, end: &CallEnd) -> u32 {
        match &self.cost {
            Some(cost) if !end.panicked() => {
                catch_unwind(AssertUnwindSafe(|| cost(end))).unwrap_or(0)
            }
            _ => 0,
        }
    }
}

impl std::fmt::Debug for After {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("After")
            .field("costs", &self.cost.is_some())
            .field("fields", &self.fields)
            .finish()
    }
}

/// What a limit keeps of an admitted call: nothing, or what is needed to follow it.
///
/// Implemented by `()` and [`Taken`].
pub trait CallState {
    /// Makes it of what was taken.
    #[doc(hidden)]
    fn of(taken: impl FnOnce() -> Taken) -> Self;

    /// Returns what was taken.
    #[doc(hidden)]
    fn taken(&self) -> Option<&Taken>;
}

/// What a call took, kept until its end.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    pub(crate) level: Level,
    /// The calls and the seconds of the policy.
    pub(crate) advert: [u64; 2],
    /// Whose it was, where there is more than one bucket.
    pub(crate) source: Source,
}

impl Taken {
    /// Of the only bucket that there is.
    pub(crate) fn of_one(level: Level, advert: [u64; 2]) -> Self {
        Self {
            level,
            advert,
            source: Source::default(),
        }
    }
}

/// Whose bucket a call takes from: the tag of a key, of which the lowest four bits are its class.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Source(pub(crate) u64);

impl Source {
    /// The bits of the class.
    pub(crate) const CLASS: u64 = 15;

    #[inline(always)]
    pub(crate) fn class(self) -> usize {
        (self.0 & Self::CLASS) as usize
    }

    /// The tag of the key without its class.
    #[inline(always)]
    pub(crate) fn key(self) -> u64 {
        self.0 & !Self::CLASS
    }
}

impl CallState for () {
    #[inline(always)]
    fn of(_taken: impl FnOnce() -> Taken) -> Self {}

    #[inline(always)]
    fn taken(&self) -> Option<&Taken> {
        None
    }
}

impl CallState for Taken {
    #[inline(always)]
    fn of(taken: impl FnOnce() -> Taken) -> Self {
        taken()
    }

    #[inline(always)]
    fn taken(&self) -> Option<&Taken> {
        Some(self)
    }
}
