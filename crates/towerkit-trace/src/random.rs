use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

use crate::{SpanId, TraceId};

/// The generator of this thread: xoroshiro128++ of Blackman and Vigna, seeded by the operating system.
///
/// Ids must not repeat, but may be guessed. A process that forks takes the state along, as with every generator that asks the system
/// only once.
pub(crate) struct Random([u64; 2]);

thread_local! {
    /// All zero, a state that the generator never has, until it is seeded.
    static STATE: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
}

impl Random {
    /// Runs something with the generator: one access to the thread's own memory, however many numbers are drawn.
    #[inline(always)]
    pub(crate) fn with<R>(draw: impl FnOnce(&mut Self) -> R) -> R {
        let mut random = Self(STATE.get());
        if random.0 == [0; 2] {
            random = Self::seeded();
        }
        let drawn = draw(&mut random);
        STATE.set(random.0);
        drawn
    }

    #[cold]
    #[inline(never)]
    fn seeded() -> Self {
        let number = || RandomState::new().hash_one(0);
        loop {
            let state = [number(), number()];
            if state != [0; 2] {
                return Self(state);
            }
        }
    }

    #[inline(always)]
    pub(crate) fn trace(&mut self) -> TraceId {
        loop {
            let number = u128::from(self.number()) << 64 | u128::from(self.number());
            if let Some(id) = TraceId::from_bytes(number.to_ne_bytes()) {
                return id;
            }
        }
    }

    #[inline(always)]
    pub(crate) fn span(&mut self) -> SpanId {
        loop {
            if let Some(id) = SpanId::from_bytes(self.number().to_ne_bytes()) {
                return id;
            }
        }
    }

    #[inline(always)]
    fn number(&mut self) -> u64 {
        let [first, mut second] = self.0;
        let number = first
            .wrapping_add(second)
            .rotate_left(17)
            .wrapping_add(first);
        second ^= first;
        self.0 = [
            first.rotate_left(49) ^ second ^ (second << 21),
            second.rotate_left(28),
        ];
        number
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::*;

    /// The first numbers of the authors' program from this state.
    #[test]
    fn numbers_are_those_of_the_published_generator() {
        let mut random = Random([1, 2]);
        let numbers = [(); 3].map(|()| random.number());
        assert_eq!(
            numbers,
            [0x0000000000060001, 0x000260c000660007, 0x180acc04718606d3]
        );
    }

    /// TR-10
    #[test]
    fn ids_are_unique_over_threads_and_never_zero() {
        const EACH: usize = 50_000;
        let draw = || {
            let ids = (0..EACH).map(|_| Random::with(|random| (random.trace(), random.span())));
            ids.collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|_| thread::spawn(draw)).collect();
        let ids = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        let (traces, spans): (HashSet<_>, HashSet<_>) = ids.unzip();
        assert_eq!(traces.len(), 8 * EACH);
        // 400,000 numbers of 64 bits: a pair that is equal by chance has a probability below 5e-9.
        assert_eq!(spans.len(), 8 * EACH);
    }
}
