use std::{collections::HashMap, mem::take};

/// The values that the receiver has, for each series, so that the next push sends the changes since.
///
/// A value is in flight from the time its packet is sent until it is [confirmed](Self::confirm) or [rejected](Self::reject), because an
/// error may arrive after a datagram was sent. Changes are computed from confirmed values, so that a lost change is sent again.
///
/// There is one entry for each series of the [`Registry`](towerkit_metrics::Registry), which never removes a series.
#[derive(Debug, Default)]
pub(crate) struct SentState {
    series: HashMap<Box<str>, u32>,
    confirmed: Vec<Vec<u64>>,
    in_flight: Vec<SentValue>,
}

/// One of the values of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// The value of a counter, or the number of values of a histogram.
    Count,
    Sum,
    Bucket(usize),
}

/// A value that the receiver has once it has the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SentValue {
    series: u32,
    field: usize,
    bits: u64,
}

impl Field {
    fn index(self) -> usize {
        match self {
            Self::Count => 0,
            Self::Sum => 1,
            Self::Bucket(index) => 2 + index,
        }
    }
}

impl SentState {
    /// Returns the index of a series, and adds the series if it is new.
    pub(crate) fn index_of(&mut self, key: &str) -> u32 {
        if let Some(index) = self.series.get(key) {
            return *index;
        }
        let index = self.confirmed.len() as u32;
        self.confirmed.push(Vec::new());
        self.series.insert(key.into(), index);
        index
    }

    fn confirmed(&self, series: u32, field: Field) -> u64 {
        let fields = self.confirmed.get(series as usize);
        fields
            .and_then(|fields| fields.get(field.index()))
            .copied()
            .unwrap_or(0)
    }

    /// Records the values of a packet that was sent and may still be rejected.
    pub(crate) fn record_sent(&mut self, values: &[SentValue]) {
        self.in_flight.extend_from_slice(values);
    }

    /// Records that the values in flight have arrived.
    pub(crate) fn confirm(&mut self) {
        for value in take(&mut self.in_flight) {
            let Some(fields) = self.confirmed.get_mut(value.series as usize) else {
                continue;
            };
            if fields.len() <= value.field {
                fields.resize(value.field + 1, 0);
            }
            fields[value.field] = value.bits;
        }
    }

    /// Records that the values in flight have not arrived: their changes are sent again.
    pub(crate) fn reject(&mut self) {
        self.in_flight.clear();
    }
}

/// The values of one series that the receiver has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentSeries<'a> {
    pub(crate) state: &'a SentState,
    pub(crate) index: u32,
}

impl SentSeries<'_> {
    /// Returns the increase of a count since it was sent. Counts wrap, as those of the registry do.
    pub(crate) fn count(self, field: Field, now: u64) -> (u64, SentValue) {
        let sent = self.state.confirmed(self.index, field);
        (now.wrapping_sub(sent), self.value(field, now))
    }

    /// Returns the change of the sum since it was sent.
    pub(crate) fn sum(self, now: f64) -> (f64, SentValue) {
        let sent = f64::from_bits(self.state.confirmed(self.index, Field::Sum));
        (now - sent, self.value(Field::Sum, now.to_bits()))
    }

    /// Returns the whole part of the change of the sum; the fraction remains for a later push.
    pub(crate) fn whole_sum(self, now: f64) -> (f64, SentValue) {
        let sent = f64::from_bits(self.state.confirmed(self.index, Field::Sum));
        let change = (now - sent).trunc();
        (change, self.value(Field::Sum, (sent + change).to_bits()))
    }

    fn value(self, field: Field, bits: u64) -> SentValue {
        SentValue {
            series: self.index,
            field: field.index(),
            bits,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    /// Returns a value for tests of packets.
    pub(crate) fn sent_value(series: u32) -> SentValue {
        SentValue {
            series,
            field: 0,
            bits: 1,
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Count(usize, u8),
        /// Sends the changes of some series, each in a packet of its own.
        Send(Vec<usize>),
        Confirm,
        Reject,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_usize..3, 0_u8..5).prop_map(|(series, times)| Step::Count(series, times)),
            prop::collection::vec(0_usize..3, 0..4).prop_map(Step::Send),
            Just(Step::Confirm),
            Just(Step::Reject),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(3),
            ..ProptestConfig::default()
        })]

        /// The model counts the events of each series, and those that the receiver has.
        #[test]
        fn every_event_is_sent_once_and_again_only_after_a_rejection(
            start in prop_oneof![Just(0), Just(u64::MAX - 3)],
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut state = SentState::default();
            let keys = ["a", "b", "c"];
            let (mut counted, mut arrived, mut in_flight) = ([0_u64; 3], [0_u64; 3], [0_u64; 3]);
            // The counter wraps; the receiver has its start.
            for key in keys {
                let index = state.index_of(key);
                let (_, value) = SentSeries { state: &state, index }.count(Field::Count, start);
                state.record_sent(&[value]);
                state.confirm();
            }
            for step in steps {
                match step {
                    Step::Count(n, times) => counted[n] += u64::from(times),
                    Step::Send(which) => {
                        // A push first confirms the last one.
                        state.confirm();
                        for n in 0..3 { arrived[n] += std::mem::take(&mut in_flight[n]); }
                        let mut once = which;
                        once.sort_unstable();
                        once.dedup();
                        for n in once {
                            let index = state.index_of(keys[n]);
                            let sent = SentSeries { state: &state, index };
                            let (change, value) = sent.count(Field::Count, start.wrapping_add(counted[n]));
                            prop_assert_eq!(change, counted[n] - arrived[n]);
                            let (sum, sum_value) = sent.sum(counted[n] as f64);
                            prop_assert_eq!(sum, (counted[n] - arrived[n]) as f64);
                            in_flight[n] = change;
                            state.record_sent(&[value, sum_value]);
                        }
                    }
                    Step::Confirm => {
                        state.confirm();
                        for n in 0..3 { arrived[n] += std::mem::take(&mut in_flight[n]); }
                    }
                    Step::Reject => {
                        state.reject();
                        in_flight = [0; 3];
                    }
                }
                prop_assert!(state.in_flight.len() <= 6);
            }
            prop_assert_eq!(state.confirmed.len(), 3);
        }
    }

    #[test]
    fn a_sum_that_is_sent_in_whole_numbers_keeps_its_fraction() {
        let mut state = SentState::default();
        let index = state.index_of("h");
        let mut sent = 0.0;
        for n in 1..=1000 {
            let now = f64::from(n) * 0.3;
            let series = SentSeries {
                state: &state,
                index,
            };
            let (change, value) = series.whole_sum(now);
            assert_eq!(change.fract(), 0.0);
            sent += change;
            assert!((0.0..1.0).contains(&(now - sent)), "{sent} of {now}");
            state.record_sent(&[value]);
            state.confirm();
        }
    }

    #[test]
    fn the_values_of_a_histogram_are_kept_apart() {
        let mut state = SentState::default();
        let index = state.index_of("h");
        let sent = SentSeries {
            state: &state,
            index,
        };
        let values = [
            sent.count(Field::Count, 5).1,
            sent.sum(2.5).1,
            sent.count(Field::Bucket(0), 3).1,
            sent.count(Field::Bucket(9), 2).1,
        ];
        state.record_sent(&values);
        state.confirm();
        let sent = SentSeries {
            state: &state,
            index,
        };
        assert_eq!(sent.count(Field::Count, 6).0, 1);
        assert_eq!(sent.sum(3.0).0, 0.5);
        assert_eq!(sent.count(Field::Bucket(0), 3).0, 0);
        assert_eq!(sent.count(Field::Bucket(5), 7).0, 7);
        assert_eq!(sent.count(Field::Bucket(9), 4).0, 2);
    }
}
