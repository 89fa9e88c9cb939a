//! A model of a breaker that stores every result and counts by reading all of them.

use std::collections::HashSet;

use towerkit_circuitbreaker::{Mode, State};

use super::{
    options::{ByWindow, ModelOptions, Rate},
    steps::Ending,
};

pub(crate) struct Model {
    pub(crate) options: ModelOptions,
    pub(crate) state: State,
    pub(crate) mode: Mode,
    pub(crate) now: i128,
    generation: u64,
    opened: i128,
    open_for: i128,
    /// The last open duration, if there was one, and the time of the last closing.
    last_open: Option<i128>,
    closed: Option<i128>,
    last_probe: i128,
    history: Vec<Recorded>,
    /// The calls in flight that may become slow.
    tracked: Vec<Admitted>,
    /// The calls that were counted as slow while in flight.
    counted_in_flight: HashSet<usize>,
    admitted: usize,
    pub(crate) in_flight: usize,
    pub(crate) succeeded: usize,
    pub(crate) let_through: u64,
    pub(crate) events: Vec<(String, String)>,
}

/// An admitted call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admitted {
    id: usize,
    /// `None` if the call would have been rejected.
    generation: Option<u64>,
    started: Option<i128>,
}

#[derive(Debug, Clone, Copy)]
struct Recorded {
    generation: u64,
    at: i128,
    succeeded: Option<bool>,
    slow: bool,
    windows: Windows,
}

/// The windows in which a result counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Windows {
    All,
    Slow,
    AllButSlow,
}

impl Model {
    pub(crate) fn new(options: ModelOptions, now: i128) -> Self {
        Self {
            options,
            state: State::Closed,
            mode: Mode::Automatic,
            now,
            generation: 0,
            opened: 0,
            open_for: 0,
            last_open: None,
            closed: None,
            last_probe: 0,
            history: Vec::new(),
            tracked: Vec::new(),
            counted_in_flight: HashSet::new(),
            admitted: 0,
            in_flight: 0,
            succeeded: 0,
            let_through: 0,
            events: Vec::new(),
        }
    }

    pub(crate) fn admit(&mut self) -> Result<Admitted, Option<u128>> {
        let started = self
            .options
            .conditions
            .are_about_slow_calls()
            .then_some(self.now);
        self.admitted += 1;
        let id = self.admitted;
        let admitted = |generation| Admitted {
            id,
            generation,
            started,
        };
        match self.decide() {
            Ok(generation) => {
                let admitted = admitted(Some(generation));
                let is_counting = self.state != State::Disabled;
                if is_counting && self.options.conditions.count_slow_in_flight() {
                    self.tracked.push(admitted);
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

    /// Counts slow calls in flight: those that started in one fourteenth of the threshold, once the last of them must be slow.
    pub(crate) fn count_slow_in_flight(&mut self) {
        let conditions = self.options.conditions;
        if !conditions.count_slow_in_flight() {
            return;
        }
        let width = (conditions.slow_after + 13) / 14;
        let end = (self.now - conditions.slow_after).div_euclid(width);
        let hangs = |call: &Admitted| {
            let started = call.started.expect("timed");
            started.div_euclid(width) < end
        };
        let (counted_in_flight, tracked) = self.tracked.iter().partition(|call| hangs(call));
        self.tracked = tracked;
        let counted_in_flight: Vec<Admitted> = counted_in_flight;
        for call in counted_in_flight {
            if call.generation != Some(self.generation) {
                continue;
            }
            match self.state {
                State::HalfOpen => self.change_state(State::Open),
                State::Closed | State::ForcedClosed => {
                    self.counted_in_flight.insert(call.id);
                    self.record(None, true, Windows::Slow);
                }
                _ => {}
            }
        }
    }

    fn record(&mut self, succeeded: Option<bool>, slow: bool, windows: Windows) {
        self.history.push(Recorded {
            generation: self.generation,
            at: self.now,
            succeeded,
            slow,
            windows,
        });
        if self.state == State::Closed && self.opens(succeeded, windows) {
            self.change_state(State::Open);
        }
    }

    pub(crate) fn finish(&mut self, call: Admitted, ending: Ending) {
        self.tracked.retain(|tracked| tracked.id != call.id);
        let windows = match self.counted_in_flight.remove(&call.id) {
            true => Windows::AllButSlow,
            false => Windows::All,
        };
        if call.generation != Some(self.generation) {
            return;
        }
        let succeeded = match ending {
            Ending::Success => Some(true),
            Ending::Failure => Some(false),
            Ending::Cancelled | Ending::Rejected => None,
        };
        let conditions = self.options.conditions;
        let slow = ending != Ending::Rejected
            && conditions.are_about_slow_calls()
            && call
                .started
                .is_some_and(|started| self.now - started > conditions.slow_after);
        match self.state {
            State::HalfOpen if slow || succeeded == Some(false) => self.change_state(State::Open),
            State::HalfOpen => {
                self.in_flight -= 1;
                self.succeeded += usize::from(succeeded == Some(true));
                if self.succeeded >= self.options.probes {
                    self.change_state(State::Closed);
                }
            }
            State::Closed | State::ForcedClosed
                if (slow && windows == Windows::All) || succeeded.is_some() =>
            {
                self.record(succeeded, slow, windows);
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
        self.change_state(to);
        self.last_open = None;
    }

    pub(crate) fn update(&mut self, options: ModelOptions) {
        let is_counting = matches!(self.state, State::Closed | State::ForcedClosed);
        if !options.conditions.count_like(&self.options.conditions) {
            self.generation += u64::from(is_counting);
            self.tracked.clear();
        }
        self.options = options;
    }

    /// Returns the results, the failures and the slow calls, as a snapshot shows them.
    pub(crate) fn totals(&self) -> (usize, usize, usize) {
        let conditions = self.options.conditions;
        let consecutive = conditions.consecutive.map_or(0, |_| self.consecutive());
        let pairs = [
            (conditions.failures.by_count, conditions.slow.by_count),
            (conditions.failures.by_time, conditions.slow.by_time),
        ];
        for (place, (failures, slow)) in pairs.into_iter().enumerate() {
            let in_window =
                |rate: Option<Rate>, but| rate.map(|rate| self.in_window(rate, place == 1, but));
            let failures = in_window(failures, Windows::Slow);
            let slow = in_window(slow, Windows::AllButSlow);
            if let Some(results) = failures.as_ref().or(slow.as_ref()) {
                let failed = failures.as_ref().map_or(consecutive, |in_window| {
                    in_window
                        .iter()
                        .filter(|in_window| in_window.succeeded == Some(false))
                        .count()
                });
                let slow = slow.as_ref().map_or(0, |in_window| {
                    in_window.iter().filter(|in_window| in_window.slow).count()
                });
                return (results.len(), failed, slow);
            }
        }
        (consecutive, consecutive, 0)
    }

    fn decide(&mut self) -> Result<u64, Option<u128>> {
        if self.state == State::Open {
            let left = self.opened + self.open_for - self.now;
            if left > 0 {
                return Err(Some(left as u128));
            }
            self.change_state(State::HalfOpen);
        }
        if self.state == State::HalfOpen && self.succeeded >= self.options.probes {
            self.change_state(State::Closed);
        }
        if self.state == State::HalfOpen {
            if self.in_flight + self.succeeded >= self.options.probes {
                if self.now - self.last_probe < self.options.probe_timeout {
                    return Err(None);
                }
                self.generation += 1;
                self.in_flight = 0;
            }
            self.in_flight += 1;
            self.last_probe = self.now;
        }
        if self.state == State::ForcedOpen {
            return Err(None);
        }
        Ok(self.generation)
    }

    fn change_state(&mut self, to: State) {
        if self.state != to {
            self.events.push((self.state.to_string(), to.to_string()));
        }
        self.state = to;
        self.generation += 1;
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
        let first = self.options.first;
        match (self.last_open, self.closed, self.options.growth) {
            (None, _, _) | (_, _, None) => first,
            (Some(last), Some(closed), _) if self.now - closed >= last => first,
            (Some(last), _, Some((times, over, longest))) => {
                (last * times / over).max(first).min(longest)
            }
        }
    }

    /// Returns true if a condition is met after this result.
    ///
    /// A condition is checked only when a result counts for it.
    fn opens(&self, succeeded: Option<bool>, windows: Windows) -> bool {
        let conditions = self.options.conditions;
        let consecutive = succeeded.is_some()
            && conditions
                .consecutive
                .is_some_and(|limit| self.consecutive() >= limit);
        let failed = |in_window: &Recorded| in_window.succeeded == Some(false);
        let failures =
            windows != Windows::Slow && self.reaches(conditions.failures, Windows::Slow, failed);
        let slow = windows != Windows::AllButSlow
            && self.reaches(conditions.slow, Windows::AllButSlow, |in_window| {
                in_window.slow
            });
        consecutive || failures || slow
    }

    fn reaches(
        &self,
        by_window: ByWindow,
        but: Windows,
        is_marked: impl Fn(&Recorded) -> bool,
    ) -> bool {
        let windows = [(by_window.by_count, false), (by_window.by_time, true)];
        windows.into_iter().any(|(rate, by_time)| {
            rate.is_some_and(|rate| {
                let in_window = self.in_window(rate, by_time, but);
                let marked = in_window
                    .iter()
                    .filter(|in_window| is_marked(in_window))
                    .count();
                marked > 0
                    && in_window.len() >= rate.minimum
                    && marked as i128 * rate.out_of >= rate.of * in_window.len() as i128
            })
        })
    }

    fn consecutive(&self) -> usize {
        let verdicts = self
            .of_this_generation()
            .filter_map(|in_window| in_window.succeeded);
        verdicts.take_while(|good| !good).count()
    }

    /// Returns the results in a window, the latest first, except for those that do not count in such a window.
    fn in_window(&self, rate: Rate, by_time: bool, but: Windows) -> Vec<Recorded> {
        let results = self
            .of_this_generation()
            .filter(|in_window| in_window.windows != but);
        if !by_time {
            return results.take(rate.window).collect();
        }
        let width = rate.window as i128 / 20;
        let is_kept =
            |in_window: &Recorded| self.now.div_euclid(width) - in_window.at.div_euclid(width) < 20;
        results.filter(is_kept).collect()
    }

    fn of_this_generation(&self) -> impl Iterator<Item = Recorded> {
        let of_this_generation = |in_window: &&Recorded| in_window.generation == self.generation;
        self.history
            .iter()
            .rev()
            .filter(of_this_generation)
            .copied()
    }
}
