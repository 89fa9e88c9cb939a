use towerkit_core::Call;
use towerkit_discovery::Instance;

/// Chooses the instance of each call: the algorithm of a load balancer.
///
/// Implemented by [`RoundRobin`](crate::RoundRobin), [`WeightedRoundRobin`](crate::WeightedRoundRobin), [`Random`](crate::Random),
/// [`P2c`](crate::P2c), [`PeakEwma`](crate::PeakEwma) and [`Maglev`](crate::Maglev). Implement it for an algorithm of your own:
///
/// ```
/// use towerkit_balance::{BuildTable, Candidates, Picker};
/// use towerkit_core::Call;
/// use towerkit_discovery::Instance;
///
/// /// Chooses the instance with the fewest calls in flight among all.
/// #[derive(Debug, Clone)]
/// struct LeastLoaded;
///
/// impl BuildTable for LeastLoaded {
///     type Table = ();
///     fn build_table(&self, _instances: &[Instance]) {}
/// }
///
/// impl<Req> Picker<Req> for LeastLoaded {
///     fn pick(&self, _table: &(), candidates: &impl Candidates, _call: &Call<'_, Req>, draw: u32) -> usize {
///         let by_load = |a: &usize, b: &usize| candidates.load(*a).total_cmp(&candidates.load(*b));
///         match draw {
///             0 => (0..candidates.count()).min_by(by_load).unwrap_or(0),
///             // The first choice was no use.
///             _ => draw as usize % candidates.count(),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not choose instances for requests of type `{Req}`",
    label = "not a picker for these requests"
)]
pub trait Picker<Req>: BuildTable {
    /// Returns the index of an instance, below [`candidates.count()`](Candidates::count), which is not 0.
    ///
    /// `draw` is 0 for the first choice of a call. The choice is repeated, with a higher `draw`, if the instance is ejected, is not
    /// ready, was tried before, or has a guard that rejects the call: it should then be another one. After an index out of range, and
    /// after three choices, the balancer looks at all instances.
    fn pick(
        &self,
        table: &Self::Table,
        candidates: &impl Candidates,
        call: &Call<'_, Req>,
        draw: u32,
    ) -> usize;
}

/// The part of a [`Picker`] that does not depend on requests.
///
/// Each service that a layer makes has a clone of the picker.
pub trait BuildTable: Clone + Send + Sync + 'static {
    /// The part of the choice that is computed once for each set of instances.
    type Table: Send + Sync + 'static;

    /// True if the latency of calls is measured, which costs a clock reading at the start of each call and one at its end.
    const MEASURES_LATENCY: bool = false;

    /// Computes the table of a set of instances, which may be empty.
    fn build_table(&self, instances: &[Instance]) -> Self::Table;
}

/// The instances among which a [`Picker`] chooses, with their load.
pub trait Candidates {
    /// Returns the number of instances.
    fn count(&self) -> usize;

    /// Returns the number of calls in flight to the instance, plus the [penalty](crate::BalanceLayer::failure_penalty) of its failures.
    ///
    /// It is infinite for an instance in its [slow start](crate::BalanceLayer::slow_start) that is not to get the call.
    fn load(&self, index: usize) -> f32;

    /// Returns true if the load of an instance is less than that of another one, at a lower cost than a comparison of both.
    #[inline(always)]
    fn is_less_loaded(&self, index: usize, other: usize) -> bool {
        self.load(index) < self.load(other)
    }

    /// Returns the latency of the instance in microseconds, as a peak EWMA; `None` before its first call has ended.
    ///
    /// It is `None` for all instances unless the picker [measures latency](BuildTable::MEASURES_LATENCY).
    fn latency(&self, index: usize) -> Option<f32>;
}
