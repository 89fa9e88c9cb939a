use std::{fmt, sync::Arc};

use towerkit_core::Call;

use crate::{InvalidSetting, fraction::Fraction, invalid::Problem};

/// How much a call matters when there is not room for all, the most important first.
///
/// The idea is that of Google's criticality (Site Reliability Engineering, chapter 21) and of Stripe's load shedders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Priority {
    /// May use all of the limit.
    Critical,
    /// May use most of it; the default.
    #[default]
    Normal,
    /// May use what is left in quiet times, and is the first to be rejected.
    Sheddable,
}

impl Priority {
    pub(crate) const ALL: [Self; 3] = [Self::Critical, Self::Normal, Self::Sheddable];
}

/// The priority of a call, and the partition it belongs to, if it belongs to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Class {
    pub(crate) priority: Priority,
    pub(crate) partition: Option<&'static str>,
}

impl Class {
    /// A call of this priority, in no partition.
    #[must_use]
    pub const fn new(priority: Priority) -> Self {
        Self {
            priority,
            partition: None,
        }
    }

    /// Puts the call into a partition. In one that [`Classes`] does not know it has no share of its own.
    #[must_use]
    pub const fn partition(mut self, name: &'static str) -> Self {
        self.partition = Some(name);
        self
    }
}

impl From<Priority> for Class {
    fn from(priority: Priority) -> Self {
        Self::new(priority)
    }
}

/// What each class of calls may use of a limit.
///
/// ```
/// use towerkit_concurrency::Classes;
///
/// let classes = Classes::new().partition("web", 0.5)?.partition("batch", 0.1)?.ceilings(0.9, 0.4)?;
/// assert!(classes.partition("mobile", 0.5).is_err(), "more than all of it");
/// # Ok::<_, towerkit_concurrency::InvalidSetting>(())
/// ```
#[derive(Debug, Clone)]
pub struct Classes {
    pub(crate) partitions: Vec<(&'static str, Fraction)>,
    pub(crate) ceilings: [Fraction; 3],
    shares: f64,
}

impl Classes {
    /// The most partitions that there may be.
    pub const MAX_PARTITIONS: usize = 16;

    /// Makes the default: no partitions, and ceilings of 0.9 and 0.5.
    #[must_use]
    pub fn new() -> Self {
        let part = |share| Fraction::of(share).expect("a share");
        Self {
            partitions: Vec::new(),
            ceilings: [Fraction::ALL, part(0.9), part(0.5)],
            shares: 0.0,
        }
    }

    /// Guarantees the calls of partition `name` their share of the limit, rounded down.
    ///
    /// What no partition is guaranteed is for all. A partition whose share is in use goes on in there, and then in the shares of
    /// partitions that have made no call for ten seconds. What such a partition has lent it gets back as the calls end that borrowed
    /// it, so that never more calls are in flight than the limit says. (Netflix's partitioned limiter lends all that is free, and
    /// lets an owner that comes back exceed the limit. Kubernetes' priority and fairness lends for ten seconds at a time, as here.)
    ///
    /// # Errors
    ///
    /// If the share is not above 0, if all shares together are more than 1, if the name is empty or there already, or if this is the
    /// 17th partition.
    pub fn partition(mut self, name: &'static str, share: f64) -> Result<Self, InvalidSetting> {
        let Some(fraction) = Fraction::of(share) else {
            return Err(InvalidSetting(Problem::Share(share)));
        };
        if name.is_empty() || self.partitions.iter().any(|(there, _)| *there == name) {
            return Err(InvalidSetting(Problem::Partition(name)));
        }
        if self.partitions.len() == Self::MAX_PARTITIONS {
            return Err(InvalidSetting(Problem::TooManyPartitions));
        }
        self.shares += share;
        // Ten times 0.1 is a little more than 1 in binary.
        if self.shares > 1.0 + 1e-9 {
            return Err(InvalidSetting(Problem::Shares(name)));
        }
        self.partitions.push((name, fraction));
        Ok(self)
    }

    /// Admits calls of normal and of sheddable priority only while less than that part of the limit is in use; 0.9 and 0.5 by default.
    ///
    /// The part is rounded down, but is never less than one call.
    ///
    /// # Errors
    ///
    /// Unless `0 < sheddable <= normal <= 1`.
    pub fn ceilings(mut self, normal: f64, sheddable: f64) -> Result<Self, InvalidSetting> {
        match (Fraction::of(normal), Fraction::of(sheddable)) {
            (Some(for_normal), Some(for_sheddable)) if sheddable <= normal => {
                self.ceilings = [Fraction::ALL, for_normal, for_sheddable];
                Ok(self)
            }
            _ => Err(InvalidSetting(Problem::Ceilings { normal, sheddable })),
        }
    }

    /// The partition of that name, by number; one past the last for calls without a share of their own.
    pub(crate) fn number(&self, partition: Option<&'static str>) -> usize {
        let find = |name| self.partitions.iter().position(|(there, _)| *there == name);
        partition.and_then(find).unwrap_or(self.partitions.len())
    }
}

impl Default for Classes {
    fn default() -> Self {
        Self::new()
    }
}

/// Says which class a call belongs to: [`Alike`], or a function given to
/// [`ConcurrencyLimitLayer::classes`](crate::ConcurrencyLimitLayer::classes).
#[diagnostic::on_unimplemented(
    message = "the classes of this concurrency limit are not told for requests of type `{Req}`",
    label = "its function takes another type of request",
    note = "give `.classes(..)` a function of `&Call<'_, {Req}>`"
)]
pub trait Sort<Req> {
    /// Whether there is more than one class.
    const SORTS: bool;

    /// Returns the class of a call.
    fn class(&self, call: &Call<'_, Req>) -> Class;
}

/// All calls are alike.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alike;

impl<Req> Sort<Req> for Alike {
    const SORTS: bool = false;

    #[inline(always)]
    fn class(&self, _call: &Call<'_, Req>) -> Class {
        Class::new(Priority::Critical)
    }
}

/// Calls are sorted by a function.
pub struct Sorted<F>(Arc<F>);

impl<F> Sorted<F> {
    pub(crate) fn new(class: F) -> Self {
        Self(Arc::new(class))
    }
}

impl<F> Clone for Sorted<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> fmt::Debug for Sorted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sorted")
    }
}

impl<Req, F: Fn(&Call<'_, Req>) -> C, C: Into<Class>> Sort<Req> for Sorted<F> {
    const SORTS: bool = true;

    #[inline(always)]
    fn class(&self, call: &Call<'_, Req>) -> Class {
        (self.0)(call).into()
    }
}
