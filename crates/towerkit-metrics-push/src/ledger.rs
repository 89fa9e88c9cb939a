use std::{collections::HashMap, mem::take};

/// What the receiver has been told: for each series the numbers that it was told last, so that the next line says what came since.
///
/// A number counts as told once its packet was. Where a rejection may come after a datagram was sent, what it told is in flight until it
/// is confirmed or rejected; only then does the next push reckon from it. So what did not arrive is told again.
///
/// It has one entry for each series of the registry, which keeps them for ever itself.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    series: HashMap<Box<str>, u32>,
    told: Vec<Vec<u64>>,
    flying: Vec<Mark>,
}

/// One of the numbers of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The value of a counter, or how many values a histogram has.
    Count,
    Sum,
    Bucket(usize),
}

/// A number that the receiver knows once it has the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    series: u32,
    cell: usize,
    word: u64,
}

impl Cell {
    fn index(self) -> usize {
        match self {
            Self::Count => 0,
            Self::Sum => 1,
            Self::Bucket(index) => 2 + index,
        }
    }
}

impl Ledger {
    /// Finds or makes the entry of a series.
    pub(crate) fn series(&mut self, key: &str) -> u32 {
        if let Some(series) = self.series.get(key) {
            return *series;
        }
        let series = self.told.len() as u32;
        self.told.push(Vec::new());
        self.series.insert(key.into(), series);
        series
    }

    fn told(&self, series: u32, cell: Cell) -> u64 {
        let cells = self.told.get(series as usize);
        cells
            .and_then(|cells| cells.get(cell.index()))
            .copied()
            .unwrap_or(0)
    }

    /// Takes note of a packet that was sent, and may still be rejected.
    pub(crate) fn sent(&mut self, marks: &[Mark]) {
        self.flying.extend_from_slice(marks);
    }

    /// What was sent has arrived, as far as anyone will know.
    pub(crate) fn confirm(&mut self) {
        for mark in take(&mut self.flying) {
            let Some(cells) = self.told.get_mut(mark.series as usize) else {
                continue;
            };
            if cells.len() <= mark.cell {
                cells.resize(mark.cell + 1, 0);
            }
            cells[mark.cell] = mark.word;
        }
    }

    /// What was sent has not arrived: it is told again.
    pub(crate) fn reject(&mut self) {
        self.flying.clear();
    }
}

/// What the receiver knows of one series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) series: u32,
}

impl Told<'_> {
    /// Returns what a count has risen by. Counts wrap, as those of the registry do.
    pub(crate) fn count(self, cell: Cell, now: u64) -> (u64, Mark) {
        let told = self.ledger.told(self.series, cell);
        (now.wrapping_sub(told), self.mark(cell, now))
    }

    /// Returns what the sum has changed by.
    pub(crate) fn sum(self, now: f64) -> (f64, Mark) {
        let told = f64::from_bits(self.ledger.told(self.series, Cell::Sum));
        (now - told, self.mark(Cell::Sum, now.to_bits()))
    }

    /// Returns what the sum has changed by in whole numbers; the rest is told once it has become one.
    pub(crate) fn whole_sum(self, now: f64) -> (f64, Mark) {
        let told = f64::from_bits(self.ledger.told(self.series, Cell::Sum));
        let by = (now - told).trunc();
        (by, self.mark(Cell::Sum, (told + by).to_bits()))
    }

    fn mark(self, cell: Cell, word: u64) -> Mark {
        Mark {
            series: self.series,
            cell: cell.index(),
            word,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    /// Any mark, for tests of what carries marks.
    pub(crate) fn a_mark(series: u32) -> Mark {
        Mark {
            series,
            cell: 0,
            word: 1,
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Happen(usize, u8),
        /// Sends what is new of some series, each in a packet of its own.
        Send(Vec<usize>),
        Confirm,
        Reject,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_usize..3, 0_u8..5).prop_map(|(series, times)| Step::Happen(series, times)),
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

        /// The model keeps the events themselves, and which of them the receiver has.
        #[test]
        fn every_event_is_told_once_and_again_only_if_it_was_rejected(
            start in prop_oneof![Just(0), Just(u64::MAX - 3)],
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut ledger = Ledger::default();
            let keys = ["a", "b", "c"];
            let (mut happened, mut arrived, mut flying) = ([0_u64; 3], [0_u64; 3], [0_u64; 3]);
            // A counter that wraps: the receiver knows all that was before.
            for key in keys {
                let series = ledger.series(key);
                let (_, mark) = Told { ledger: &ledger, series }.count(Cell::Count, start);
                ledger.sent(&[mark]);
                ledger.confirm();
            }
            for step in steps {
                match step {
                    Step::Happen(n, times) => happened[n] += u64::from(times),
                    Step::Send(which) => {
                        // A push begins with what became of the last one.
                        ledger.confirm();
                        for n in 0..3 { arrived[n] += std::mem::take(&mut flying[n]); }
                        let mut once = which;
                        once.sort_unstable();
                        once.dedup();
                        for n in once {
                            let series = ledger.series(keys[n]);
                            let told = Told { ledger: &ledger, series };
                            let (by, mark) = told.count(Cell::Count, start.wrapping_add(happened[n]));
                            prop_assert_eq!(by, happened[n] - arrived[n]);
                            let (sum, sum_mark) = told.sum(happened[n] as f64);
                            prop_assert_eq!(sum, (happened[n] - arrived[n]) as f64);
                            flying[n] = by;
                            ledger.sent(&[mark, sum_mark]);
                        }
                    }
                    Step::Confirm => {
                        ledger.confirm();
                        for n in 0..3 { arrived[n] += std::mem::take(&mut flying[n]); }
                    }
                    Step::Reject => {
                        ledger.reject();
                        flying = [0; 3];
                    }
                }
                prop_assert!(ledger.flying.len() <= 6);
            }
            prop_assert_eq!(ledger.told.len(), 3);
        }
    }

    #[test]
    fn a_sum_that_is_told_in_whole_numbers_loses_nothing() {
        let mut ledger = Ledger::default();
        let series = ledger.series("h");
        let mut told = 0.0;
        for n in 1..=1000 {
            let now = f64::from(n) * 0.3;
            let ledger_then = Told {
                ledger: &ledger,
                series,
            };
            let (by, mark) = ledger_then.whole_sum(now);
            assert_eq!(by.fract(), 0.0);
            told += by;
            assert!((0.0..1.0).contains(&(now - told)), "{told} of {now}");
            ledger.sent(&[mark]);
            ledger.confirm();
        }
    }

    #[test]
    fn the_numbers_of_a_histogram_do_not_mix() {
        let mut ledger = Ledger::default();
        let series = ledger.series("h");
        let told = Told {
            ledger: &ledger,
            series,
        };
        let marks = [
            told.count(Cell::Count, 5).1,
            told.sum(2.5).1,
            told.count(Cell::Bucket(0), 3).1,
            told.count(Cell::Bucket(9), 2).1,
        ];
        ledger.sent(&marks);
        ledger.confirm();
        let told = Told {
            ledger: &ledger,
            series,
        };
        assert_eq!(told.count(Cell::Count, 6).0, 1);
        assert_eq!(told.sum(3.0).0, 0.5);
        assert_eq!(told.count(Cell::Bucket(0), 3).0, 0);
        assert_eq!(told.count(Cell::Bucket(5), 7).0, 7);
        assert_eq!(told.count(Cell::Bucket(9), 4).0, 2);
    }
}
