//! A typical mistake gives a compile error that names the missing method or bound.
//!
//! The messages are those of the compiler that `.ci/run` uses; `TRYBUILD=overwrite cargo test -p towerkit-compile` writes them anew.

#[test]
fn a_typical_mistake_gets_a_clear_message() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/*.rs");
}
