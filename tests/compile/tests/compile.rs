//! A wrong use gives a compile error that says what to add.
//!
//! The messages are those of the compiler that `.ci/run` uses; `TRYBUILD=overwrite cargo test -p towerkit-compile` writes them anew.

#[test]
fn a_wrong_use_is_told_what_to_add() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/*.rs");
}
