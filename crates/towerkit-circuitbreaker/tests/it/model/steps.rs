//! What happens to a breaker.

use proptest::{prelude::*, sample::Index};
use towerkit_circuitbreaker::Mode;

use super::options::{Given, options};

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Start,
    CallEnd(Index, Ending),
    Advance(u64),
    Switch(Mode),
    Apply(Box<Given>),
    /// Changes the limits, and leaves what is counted and in which windows as it is.
    Limits(Box<Given>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Good,
    Bad,
    Dropped,
    RefusedFurtherIn,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![
        4 => Just(Ending::Good),
        6 => Just(Ending::Bad),
        1 => Just(Ending::Dropped),
        1 => Just(Ending::RefusedFurtherIn),
    ];
    let mode = prop_oneof![
        1 => Just(Mode::ForcedOpen),
        1 => Just(Mode::ForcedClosed),
        1 => Just(Mode::Disabled),
        2 => Just(Mode::Observing),
        4 => Just(Mode::Automatic),
    ];
    prop_oneof![
        200 => Just(Step::Start),
        200 => (any::<Index>(), ending).prop_map(|(call, ending)| Step::CallEnd(call, ending)),
        50 => (0..20_u64).prop_map(Step::Advance),
        20 => mode.prop_map(Step::Switch),
        4 => options().prop_map(|given| Step::Apply(Box::new(given))),
        8 => options().prop_map(|given| Step::Limits(Box::new(given))),
    ]
}
