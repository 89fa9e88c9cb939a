use towerkit_core::Call;
use towerkit_discovery::Instance;

use crate::{
    BuildTable, Candidates, Picker,
    alias_table::{AliasTable, below},
};

/// Chooses an instance at random, in proportion to the weights.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Random;

/// The table of [`Random`].
#[derive(Debug)]
pub struct RandomTable(Option<AliasTable>);

impl Random {
    /// Makes the picker.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl BuildTable for Random {
    type Table = RandomTable;

    fn build_table(&self, instances: &[Instance]) -> RandomTable {
        let weights: Vec<_> = instances.iter().map(|instance| instance.weight).collect();
        RandomTable(AliasTable::new(&weights))
    }
}

impl<Req> Picker<Req> for Random {
    #[inline(always)]
    fn pick(
        &self,
        table: &RandomTable,
        candidates: &impl Candidates,
        _call: &Call<'_, Req>,
        _draw: u32,
    ) -> usize {
        let bits = fastrand::u64(..);
        match &table.0 {
            None => below(bits, candidates.count()),
            Some(table) => table.draw(bits),
        }
    }
}
