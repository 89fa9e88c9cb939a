//! The operations on a breaker.

use proptest::{prelude::*, sample::Index};
use towerkit_circuitbreaker::Mode;

use super::options::{ModelOptions, options};

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Start,
    CallEnd(Index, Ending),
    Advance(u64),
    Switch(Mode),
    Update(Box<ModelOptions>),
    /// Changes the thresholds, but not the windows.
    Thresholds(Box<ModelOptions>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Success,
    Failure,
    Cancelled,
    Rejected,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![
        4 => Just(Ending::Success),
        6 => Just(Ending::Failure),
        1 => Just(Ending::Cancelled),
        1 => Just(Ending::Rejected),
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
        4 => options().prop_map(|options| Step::Update(Box::new(options))),
        8 => options().prop_map(|options| Step::Thresholds(Box::new(options))),
    ]
}
