use std::{
    hash::{BuildHasher, RandomState},
    process,
    time::SystemTime,
};

use opentelemetry::{SpanId, TraceId};
use opentelemetry_sdk::trace::IdGenerator;
use towerkit_core::TraceSeed;

/// The ids of one pipeline: numbers that are unique in the process, combined with random keys of the pipeline.
///
/// A forked process continues with the same numbers. It needs a pipeline of its own, because threads are not forked, and so has other
/// keys.
#[derive(Debug)]
pub(crate) struct UniqueIdGenerator {
    trace_keys: [u64; 2],
    span_key: u64,
}

impl UniqueIdGenerator {
    pub(crate) fn new() -> Self {
        // The hasher alone is not enough: it asks the system for random keys once per thread and then counts.
        let process = (process::id(), SystemTime::now());
        let key = || RandomState::new().hash_one(process);
        Self {
            trace_keys: [key(), key()],
            span_key: key(),
        }
    }
}

impl IdGenerator for UniqueIdGenerator {
    fn new_trace_id(&self) -> TraceId {
        loop {
            let [first, second] = TraceSeed::next().trace();
            let [high, low] = self.trace_keys;
            let id = u128::from(first ^ high) << 64 | u128::from(second ^ low);
            if id != 0 {
                return TraceId::from_bytes(id.to_be_bytes());
            }
        }
    }

    fn new_span_id(&self) -> SpanId {
        loop {
            let id = TraceSeed::next().span() ^ self.span_key;
            if id != 0 {
                return SpanId::from_bytes(id.to_be_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// TR-10: with ten million ids in an optimized build.
    #[test]
    fn ids_of_eight_threads_are_unique_and_not_zero() {
        const EACH: usize = if cfg!(debug_assertions) {
            125_000
        } else {
            1_250_000
        };
        let ids = UniqueIdGenerator::new();
        let draw = || {
            (0..EACH)
                .map(|_| ids.new_span_id().to_bytes())
                .collect::<Vec<_>>()
        };
        let mut spans: Vec<_> = thread::scope(|scope| {
            let threads = [(); 8].map(|()| scope.spawn(draw));
            let drawn = threads.map(|thread| thread.join().unwrap());
            drawn
                .into_iter()
                .flatten()
                .map(u64::from_be_bytes)
                .collect()
        });
        spans.sort_unstable();
        assert_eq!(spans.len(), 8 * EACH);
        assert!(spans[0] > 0 && spans.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn trace_ids_are_unique_across_pipelines() {
        let generators = [UniqueIdGenerator::new(), UniqueIdGenerator::new()];
        let traces = (0..200_000).map(|draw| generators[draw % 2].new_trace_id().to_bytes());
        let mut traces: Vec<_> = traces.map(u128::from_be_bytes).collect();
        traces.sort_unstable();
        assert!(traces[0] > 0 && traces.is_sorted_by(|one, next| one < next));
    }
}
