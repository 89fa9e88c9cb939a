use towerkit_core::{ConfigError, Name};

use crate::fraction::Fraction;

/// The importance of a call when the limit cannot admit all calls.
///
/// Corresponds to the criticality of requests in the [SRE book, chapter 21](https://sre.google/sre-book/handling-overload/) and to
/// [Stripe's load shedders](https://stripe.com/blog/rate-limiters).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Priority {
    /// May use the whole limit.
    Critical,
    /// May use most of the limit, 90 % by default; the default priority.
    #[default]
    Normal,
    /// May use the limit while load is low, up to 50 % by default, and is shed first.
    Sheddable,
}

impl Priority {
    pub(crate) const ALL: [Self; 3] = [Self::Critical, Self::Normal, Self::Sheddable];
}

/// The [`Priority`] of a call, and optionally its partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PriorityClass {
    priority: Priority,
    partition: Option<Name>,
}

impl PriorityClass {
    /// Creates the class of calls with this [`Priority`], outside of all partitions.
    #[must_use]
    pub const fn new(priority: Priority) -> Self {
        Self {
            priority,
            partition: None,
        }
    }

    /// Assigns the call to a partition of the [`PriorityClasses`].
    ///
    /// A call of an unknown partition uses the unreserved part of the limit. The name of a call is compared by its text; a
    /// [`Name`] that is cloned from the configuration allocates no memory.
    #[must_use]
    pub fn partition(mut self, name: impl Into<Name>) -> Self {
        self.partition = Some(name.into());
        self
    }
}

impl From<Priority> for PriorityClass {
    fn from(priority: Priority) -> Self {
        Self::new(priority)
    }
}

/// The part of the limit that each [`PriorityClass`] may use.
///
/// ```
/// use towerkit_concurrency::PriorityClasses;
///
/// let classes = PriorityClasses::new()
///     .partition("web", 0.5)?
///     .partition("batch", 0.1)?
///     .ceilings(0.9, 0.4)?;
/// assert!(classes.partition("mobile", 0.5).is_err(), "more than the whole limit");
/// # Ok::<_, towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PriorityClasses {
    partitions: Vec<(Name, Fraction)>,
    ceilings: [Fraction; 3],
    total_share: f64,
}

impl PriorityClasses {
    /// The highest number of partitions.
    pub const MAX_PARTITIONS: usize = 16;

    /// Creates classes without partitions, and with ceilings of 0.9 and 0.5.
    #[must_use]
    pub fn new() -> Self {
        let ceiling = |value| Fraction::new(value).expect("between 0 and 1");
        Self {
            partitions: Vec::new(),
            ceilings: [Fraction::ONE, ceiling(0.9), ceiling(0.5)],
            total_share: 0.0,
        }
    }

    /// Reserves a `share` of the limit, rounded down, for the calls of partition `name`.
    ///
    /// The unreserved part of the limit is open to all calls. A partition that has used up its share takes permits there, and then
    /// from partitions that have made no call for ten seconds. A partition regains a lent permit when the call that borrowed it
    /// ends, so the calls in flight never exceed the limit. ([Netflix's partitioned
    /// limiter](https://github.com/Netflix/concurrency-limits) lends every free permit, and lets the owner exceed the limit when it
    /// returns. [API priority and fairness](https://kubernetes.io/docs/concepts/cluster-administration/flow-control/) of Kubernetes
    /// adjusts what it lends every ten seconds.)
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the share is not above 0 and at most 1, if all shares together exceed 1, if the name is empty
    /// or taken, or if there are already [`MAX_PARTITIONS`](Self::MAX_PARTITIONS).
    pub fn partition(mut self, name: impl Into<Name>, share: f64) -> Result<Self, ConfigError> {
        let name = name.into();
        let Some(fraction) = Fraction::new(share) else {
            let expected = "a number above 0 and at most 1";
            return Err(ConfigError::new("partition share", share, expected));
        };
        if name.is_empty() || self.partitions.iter().any(|(other, _)| *other == name) {
            let expected = "a name that no other partition has";
            return Err(ConfigError::new("partition name", &*name, expected));
        }
        if self.partitions.len() == Self::MAX_PARTITIONS {
            let expected = "at most 16 partitions";
            return Err(ConfigError::new("partition", &*name, expected));
        }
        self.total_share += share;
        // Ten times 0.1 is a little more than 1 in binary.
        if self.total_share > 1.0 + 1e-9 {
            let expected = "shares of at most 1 in total";
            return Err(ConfigError::new("partition share", share, expected));
        }
        self.partitions.push((name, fraction));
        Ok(self)
    }

    /// Admits [`Normal`](Priority::Normal) and [`Sheddable`](Priority::Sheddable) calls only below these parts of the limit; 0.9
    /// and 0.5 by default.
    ///
    /// Each part is rounded down, but is at least one call.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] unless `0 < sheddable <= normal <= 1`.
    pub fn ceilings(mut self, normal: f64, sheddable: f64) -> Result<Self, ConfigError> {
        match (Fraction::new(normal), Fraction::new(sheddable)) {
            (Some(for_normal), Some(for_sheddable)) if sheddable <= normal => {
                self.ceilings = [Fraction::ONE, for_normal, for_sheddable];
                Ok(self)
            }
            _ => Err(ConfigError::new(
                "ceilings",
                (normal, sheddable),
                "0 < sheddable <= normal <= 1",
            )),
        }
    }

    /// Returns the share of each partition.
    pub(crate) fn shares(&self) -> impl ExactSizeIterator<Item = Fraction> {
        self.partitions.iter().map(|(_, share)| *share)
    }

    /// Returns the ceiling of each [`Priority`].
    pub(crate) fn ceiling_of_each(&self) -> [Fraction; 3] {
        self.ceilings
    }

    /// Looks up the partition of a class.
    pub(crate) fn resolve(&self, class: &PriorityClass) -> ClassIndex {
        let find = |name: &Name| self.partitions.iter().position(|(other, _)| other == name);
        let partition = class.partition.as_ref().and_then(find);
        ClassIndex {
            partition: partition.unwrap_or(self.partitions.len()),
            priority: class.priority,
        }
    }
}

impl Default for PriorityClasses {
    fn default() -> Self {
        Self::new()
    }
}

/// A [`PriorityClass`] with its partition as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClassIndex {
    /// The number of the partition, or the number of partitions for a call outside of them.
    pub(crate) partition: usize,
    pub(crate) priority: Priority,
}

impl ClassIndex {
    /// The class of all calls where calls are not classified.
    pub(crate) const SINGLE: Self = Self {
        partition: 0,
        priority: Priority::Critical,
    };

    /// Returns the position in a list of all classes.
    pub(crate) fn position(self) -> usize {
        self.partition * Priority::ALL.len() + self.priority as usize
    }
}
