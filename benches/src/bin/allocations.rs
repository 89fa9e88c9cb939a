//! Counts what each case of the catalogue allocates in a call; the report reads it.
//!
//! A process of its own, because an allocator that counts would slow those down that allocate.

use std::io;

use towerkit_benches::{Count, catalogue, runtime};

fn main() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let measure = |run: &mut dyn FnMut()| allocation_counter::measure(run).count_total;
    catalogue(&mut Count::new(measure, io::stdout().lock()));
}
