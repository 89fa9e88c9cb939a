//! A breaker that keeps every result for ever and counts by looking through all of them.

use std::collections::HashSet;

use towerkit_circuitbreaker::{Mode, State};

use super::{
    options::{ByWindow, Given, Share},
    steps::Ending,
};

pub(crate) struct Model {
    pub(crate) given: Given,
    pub(crate) state: State,
    pub(crate) mode: Mode,
    pub(crate) now: i128,
    period: u64,
    opened: i128,
    open_for: i128,
    /// How long the breaker was open last, if it was, and when it closed again.
    last_open: Option<i128>,
    closed: Option<i128>,
    last_probe: i128,
    history: Vec<Kept>,
    /// The calls in flight that may come to hang.
    watched: Vec<Admitted>,
    /// Those that were counted since.
    hung: HashSet<usize>,
    admitted: usize,
    pub(crate) in_flight: usize,
    pub(crate) succeeded: usize,
    pub(crate) let_through: u64,
    pub(crate) events: Vec<(String, String)>,
}

/// A call that was admitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admitted {
    id: usize,
    /// `None` if it would have been rejected.
    period: Option<u64>,
    started: Option<i128>,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    period: u64,
    at: i128,
    verdict: Option<bool>,
    slow: bool,
    counts: Counts,
}

/// In which windows a result counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Everywhere,
    AsSlow,
    AsEnded,
}

impl Model {
    pub(crate) fn new(given: Given, now: i128) -> Self {
        Self {
            given,
            state: State::Closed,
            mode: Mode::Automatic,
            now,
            period: 0,
            opened: 0,
            open_for: 0,
            last_open: None,
            closed: None,
            last_probe: 0,
            history: Vec::new(),
            watched: Vec::new(),
            hung: HashSet::new(),
            admitted: 0,
            in_flight: 0,
            succeeded: 0,
            let_through: 0,
            events: Vec::new(),
        }
    }

    pub(crate) fn admit(&mut self) -> Result<Admitted, Option<u128>> {
        let started = self
            .given
            .conditions
            .are_about_slow_calls()
            .then_some(self.now);
        self.admitted += 1;
        let id = self.admitted;
        let admitted = |period| Admitted {
            id,
            period,
            started,
        };
        match self.decide() {
            Ok(period) => {
                let admitted = admitted(Some(period));
                let counts = self.state != State::Disabled;
                if counts && self.given.conditions.look_for_hanging() {
                    self.watched.push(admitted);
                }
                Ok(admitted)
            }
            Err(_) if self.mode == Mode::Observing => {
                self.let_through += 1;
                Ok(admitted(None))
            }
            Err(wait) => Err(wait),
        }
    }

    /// Counts the calls that hang: all of those that started in one fourteenth of the threshold, when the last one of these can hang.
    pub(crate) fn look_for_hanging(&mut self) {
        let conditions = self.given.conditions;
        if !conditions.look_for_hanging() {
            return;
        }
        let width = (conditions.slow_after + 13) / 14;
        let end = (self.now - conditions.slow_after).div_euclid(width);
        let hangs = |call: &Admitted| {
            let started = call.started.expect("timed");
            started.div_euclid(width) < end
        };
        let (hung, watched) = self.watched.iter().partition(|call| hangs(call));
        self.watched = watched;
        let hung: Vec<Admitted> = hung;
        for call in hung {
            if call.period != Some(self.period) {
                continue;
            }
            match self.state {
                State::HalfOpen => self.go(State::Open),
                State::Closed | State::ForcedClosed => {
                    self.hung.insert(call.id);
                    self.keep(None, true, Counts::AsSlow);
                }
                _ => {}
            }
        }
    }

    fn keep(&mut self, verdict: Option<bool>, slow: bool, counts: Counts) {
        self.history.push(Kept {
            period: self.period,
            at: self.now,
            verdict,
            slow,
            counts,
        });
        if self.state == State::Closed && self.conditions(verdict, counts) {
            self.go(State::Open);
        }
    }

    pub(crate) fn finish(&mut self, call: Admitted, ending: Ending) {
        self.watched.retain(|watched| watched.id != call.id);
        let counts = match self.hung.remove(&call.id) {
            true => Counts::AsEnded,
            false => Counts::Everywhere,
        };
        if call.period != Some(self.period) {
            return;
        }
        let verdict = match ending {
            Ending::Good => Some(true),
            Ending::Bad => Some(false),
            Ending::Dropped | Ending::RefusedFurtherIn => None,
        };
        let conditions = self.given.conditions;
        let slow = ending != Ending::RefusedFurtherIn
            && conditions.are_about_slow_calls()
            && call
                .started
                .is_some_and(|started| self.now - started > conditions.slow_after);
        match self.state {
            State::HalfOpen if slow || verdict == Some(false) => self.go(State::Open),
            State::HalfOpen => {
                self.in_flight -= 1;
                self.succeeded += usize::from(verdict == Some(true));
                if self.succeeded >= self.given.probes {
                    self.go(State::Closed);
                }
            }
            State::Closed | State::ForcedClosed
                if (slow && counts == Counts::Everywhere) || verdict.is_some() =>
            {
                self.keep(verdict, slow, counts);
            }
            _ => {}
        }
    }

    pub(crate) fn switch(&mut self, mode: Mode) {
        if mode == self.mode {
            return;
        }
        self.mode = mode;
        let to = match mode {
            Mode::ForcedOpen => State::ForcedOpen,
            Mode::ForcedClosed => State::ForcedClosed,
            Mode::Disabled => State::Disabled,
            Mode::Observing if !self.state.is_forced() => return,
            _ => State::Closed,
        };
        self.go(to);
        self.last_open = None;
    }

    pub(crate) fn update(&mut self, given: Given) {
        let counts = matches!(self.state, State::Closed | State::ForcedClosed);
        if !given.conditions.count_like(&self.given.conditions) {
            self.period += u64::from(counts);
            self.watched.clear();
        }
        self.given = given;
    }

    /// Returns the results, the failures among them, and the slow ones, as a snapshot shows them.
    pub(crate) fn shown(&self) -> (usize, usize, usize) {
        let conditions = self.given.conditions;
        let in_a_row = conditions.in_a_row.map_or(0, |_| self.in_a_row());
        let pairs = [
            (conditions.failures.of_last, conditions.slow.of_last),
            (conditions.failures.in_time, conditions.slow.in_time),
        ];
        for (place, (failures, slow)) in pairs.into_iter().enumerate() {
            let kept =
                |share: Option<Share>, but| share.map(|share| self.kept(share, place == 1, but));
            let failures = kept(failures, Counts::AsSlow);
            let slow = kept(slow, Counts::AsEnded);
            if let Some(results) = failures.as_ref().or(slow.as_ref()) {
                let failed = failures.as_ref().map_or(in_a_row, |kept| {
                    kept.iter()
                        .filter(|kept| kept.verdict == Some(false))
                        .count()
                });
                let slow = slow
                    .as_ref()
                    .map_or(0, |kept| kept.iter().filter(|kept| kept.slow).count());
                return (results.len(), failed, slow);
            }
        }
        (in_a_row, in_a_row, 0)
    }

    fn decide(&mut self) -> Result<u64, Option<u128>> {
        if self.state == State::Open {
            let left = self.opened + self.open_for - self.now;
            if left > 0 {
                return Err(Some(left as u128));
            }
            self.go(State::HalfOpen);
        }
        if self.state == State::HalfOpen && self.succeeded >= self.given.probes {
            self.go(State::Closed);
        }
        if self.state == State::HalfOpen {
            if self.in_flight + self.succeeded >= self.given.probes {
                if self.now - self.last_probe < self.given.probe_timeout {
                    return Err(None);
                }
                self.period += 1;
                self.in_flight = 0;
            }
            self.in_flight += 1;
            self.last_probe = self.now;
        }
        if self.state == State::ForcedOpen {
            return Err(None);
        }
        Ok(self.period)
    }

    fn go(&mut self, to: State) {
        if self.state != to {
            self.events.push((self.state.to_string(), to.to_string()));
        }
        self.state = to;
        self.period += 1;
        self.in_flight = 0;
        self.succeeded = 0;
        match to {
            State::Open => {
                self.open_for = self.next_open_time();
                self.last_open = Some(self.open_for);
                self.closed = None;
                self.opened = self.now;
            }
            State::Closed => self.closed = Some(self.now),
            _ => {}
        }
    }

    fn next_open_time(&self) -> i128 {
        let first = self.given.first;
        match (self.last_open, self.closed, self.given.growth) {
            (None, _, _) | (_, _, None) => first,
            (Some(last), Some(closed), _) if self.now - closed >= last => first,
            (Some(last), _, Some((times, over, longest))) => {
                (last * times / over).max(first).min(longest)
            }
        }
    }

    /// Whether a condition is met, after a result with this verdict.
    ///
    /// A condition is judged when a result of its own comes in.
    fn conditions(&self, verdict: Option<bool>, counts: Counts) -> bool {
        let conditions = self.given.conditions;
        let in_a_row = verdict.is_some()
            && conditions
                .in_a_row
                .is_some_and(|limit| self.in_a_row() >= limit);
        let failed = |kept: &Kept| kept.verdict == Some(false);
        let failures =
            counts != Counts::AsSlow && self.reaches(conditions.failures, Counts::AsSlow, failed);
        let slow = counts != Counts::AsEnded
            && self.reaches(conditions.slow, Counts::AsEnded, |kept| kept.slow);
        in_a_row || failures || slow
    }

    fn reaches(&self, by_window: ByWindow, but: Counts, is_marked: impl Fn(&Kept) -> bool) -> bool {
        let windows = [(by_window.of_last, false), (by_window.in_time, true)];
        windows.into_iter().any(|(share, in_time)| {
            share.is_some_and(|share| {
                let kept = self.kept(share, in_time, but);
                let marked = kept.iter().filter(|kept| is_marked(kept)).count();
                marked > 0
                    && kept.len() >= share.minimum
                    && marked as i128 * share.out_of >= share.of * kept.len() as i128
            })
        })
    }

    fn in_a_row(&self) -> usize {
        let verdicts = self.of_this_period().filter_map(|kept| kept.verdict);
        verdicts.take_while(|good| !good).count()
    }

    /// The results in a window, the latest first, but for those that do not count in such a window.
    fn kept(&self, share: Share, in_time: bool, but: Counts) -> Vec<Kept> {
        let results = self.of_this_period().filter(|kept| kept.counts != but);
        if !in_time {
            return results.take(share.window).collect();
        }
        let width = share.window as i128 / 20;
        let is_kept = |kept: &Kept| self.now.div_euclid(width) - kept.at.div_euclid(width) < 20;
        results.filter(is_kept).collect()
    }

    fn of_this_period(&self) -> impl Iterator<Item = Kept> {
        let of_this_period = |kept: &&Kept| kept.period == self.period;
        self.history.iter().rev().filter(of_this_period).copied()
    }
}
