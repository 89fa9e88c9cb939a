//! CB-08: random operations on a breaker and on a model that stores all results and shares no code with the breaker.

mod comparison;
mod keys;
mod options;
mod reference;
mod steps;

use proptest::{prelude::*, test_runner::RngSeed};

use self::{comparison::Comparison, keys::Keys, options::options, steps::step};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(8),
        ..ProptestConfig::default()
    })]

    /// CB-08: consecutive failures, rates of failures and of slow calls over results and over time, and any of them; open durations
    /// with backoff, probes that do not end, every mode, and updates of the options.
    #[test]
    fn the_breaker_behaves_like_the_model(
        options in options(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut comparison = Comparison::new(options);
        for step in steps {
            comparison.run(&step)?;
            comparison.compare()?;
        }
        prop_assert_eq!(&*comparison.events.lock().unwrap(), &comparison.model.events);
    }

    /// CB-08, for a table with fewer slots than keys.
    #[test]
    fn each_key_behaves_like_its_model(
        steps in prop::collection::vec(keys::step(), 1..60),
    ) {
        let mut keys = Keys::new();
        for step in steps {
            keys.run(&step)?;
        }
    }
}
