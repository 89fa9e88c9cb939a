//! One call that others wait for: no lock, no future, no waker of its own.

/// How a flight ended, for those who wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Landing<V> {
    /// With an answer for all.
    Shared(V),
    /// With none, but another call may have one: it failed, or was given up.
    Failed,
    /// With an answer that is for its caller alone, and so would be the next.
    Alone,
}

/// A call in flight, and who waits for it.
///
/// `V` is the answer, `W` what wakes who waits. A seat that is given up is taken by the next, so that there are never more seats
/// than have waited at the same time.
#[derive(Debug)]
pub(crate) struct Flight<V, W> {
    landing: Option<Landing<V>>,
    seats: Vec<Option<W>>,
    free: Vec<usize>,
}

/// The place of one who waits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seat(usize);

impl<V: Clone, W> Flight<V, W> {
    pub(crate) fn new() -> Self {
        Self {
            landing: None,
            seats: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Returns how the flight ended, if it has.
    pub(crate) fn landing(&self) -> Option<Landing<V>> {
        self.landing.clone()
    }

    /// Whether it goes on.
    pub(crate) fn is_open(&self) -> bool {
        self.landing.is_none()
    }

    /// Returns what would wake who sits there.
    pub(crate) fn waker(&self, seat: &Seat) -> Option<&W> {
        self.seats.get(seat.0)?.as_ref()
    }

    /// Takes a seat, or a new waker to the seat that is taken; returns the old waker.
    pub(crate) fn sit(&mut self, seat: &mut Option<Seat>, waker: W) -> Option<W> {
        let at = match seat {
            Some(seat) => seat.0,
            None => self.free.pop().unwrap_or(self.seats.len()),
        };
        *seat = Some(Seat(at));
        if at == self.seats.len() {
            self.seats.push(Some(waker));
            return None;
        }
        self.seats[at].replace(waker)
    }

    /// Gives up a seat; returns its waker.
    pub(crate) fn rise(&mut self, seat: Seat) -> Option<W> {
        let waker = self.seats.get_mut(seat.0)?.take();
        self.free.push(seat.0);
        waker
    }

    /// Ends the flight; returns whom to wake.
    pub(crate) fn land(&mut self, landing: Landing<V>) -> impl Iterator<Item = W> + use<V, W> {
        if self.landing.is_none() {
            self.landing = Some(landing);
        }
        self.free = Vec::new();
        std::mem::take(&mut self.seats).into_iter().flatten()
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::{prelude::*, sample::Index, test_runner::RngSeed};

    use super::*;

    /// What may happen to a flight. Those who wait are told apart by the order in which they came.
    #[derive(Debug, Clone)]
    enum Step {
        Sit,
        SitAgain(Index),
        Rise(Index),
        Land(Option<u8>),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Sit),
            2 => any::<Index>().prop_map(Step::SitAgain),
            3 => any::<Index>().prop_map(Step::Rise),
            1 => any::<Option<u8>>().prop_map(Step::Land),
        ]
    }

    fn landing(answer: Option<u8>) -> Landing<u8> {
        answer.map_or(Landing::Failed, Landing::Shared)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]

        /// The model is a list of those who wait, each with its last waker.
        #[test]
        fn all_who_wait_are_woken_once(steps in prop::collection::vec(step(), 1..25)) {
            let mut flight = Flight::new();
            let mut waiting: Vec<(Option<Seat>, u32)> = Vec::new();
            let mut landed: Option<Option<u8>> = None;
            let (mut wakers, mut most) = (0, 0);
            for step in steps {
                wakers += 1;
                match step {
                    Step::Sit if landed.is_none() => {
                        let mut seat = None;
                        prop_assert_eq!(flight.sit(&mut seat, wakers), None);
                        waiting.push((seat, wakers));
                    }
                    Step::SitAgain(at) if landed.is_none() && !waiting.is_empty() => {
                        let (seat, waker) = at.get_mut(&mut waiting);
                        prop_assert_eq!(flight.sit(seat, wakers), Some(*waker));
                        *waker = wakers;
                    }
                    Step::Rise(at) if !waiting.is_empty() => {
                        let (seat, waker) = waiting.swap_remove(at.index(waiting.len()));
                        let expected = landed.is_none().then_some(waker);
                        prop_assert_eq!(flight.rise(seat.unwrap()), expected);
                    }
                    Step::Land(answer) => {
                        let mut woken: Vec<_> = flight.land(landing(answer)).collect();
                        let mut expected: Vec<_> = waiting.iter().map(|(_, waker)| *waker).collect();
                        if landed.is_some() {
                            expected.clear();
                        }
                        woken.sort_unstable();
                        expected.sort_unstable();
                        prop_assert_eq!(woken, expected);
                        landed = landed.or(Some(answer));
                    }
                    _ => {}
                }
                most = most.max(waiting.len());
                prop_assert!(flight.seats.len() <= most, "seats that nobody needs");
                prop_assert_eq!(flight.is_open(), landed.is_none());
                prop_assert_eq!(flight.landing(), landed.map(landing));
                for (seat, waker) in &waiting {
                    let expected = landed.is_none().then_some(waker);
                    prop_assert_eq!(flight.waker(seat.as_ref().unwrap()), expected);
                }
            }
        }
    }
}
