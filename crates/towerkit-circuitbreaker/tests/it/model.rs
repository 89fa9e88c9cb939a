//! CB-08: random operations against a model that remembers everything and shares no code with the breaker.

mod both;
mod keys;
mod options;
mod reference;
mod steps;

use proptest::{prelude::*, test_runner::RngSeed};

use self::{both::Both, keys::Keys, options::options, steps::step};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(8),
        ..ProptestConfig::default()
    })]

    /// CB-08: consecutive failures, rates of failures and of slow calls over results and over time, and any of them; open times that
    /// grow, probes that do not end, every mode, and options that change on the way.
    #[test]
    fn the_breaker_does_what_the_model_does(
        options in options(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut both = Both::new(options);
        for step in steps {
            both.run(&step)?;
            both.compare()?;
        }
        prop_assert_eq!(&*both.events.lock().unwrap(), &both.model.events);
    }

    /// CB-08, for a table that is too small for its keys.
    #[test]
    fn every_key_has_a_breaker_like_its_model(
        steps in prop::collection::vec(keys::step(), 1..60),
    ) {
        let mut keys = Keys::new();
        for step in steps {
            keys.run(&step)?;
        }
    }
}
