//! The demo, run as a user runs it: it checks itself what it shows.

use std::process::Command;

/// It finds stringsvc and trace-relay beside itself: `cargo test --workspace` builds them, since they have tests like this one.
#[test]
#[ignore = "needs prometheus, stringsvc and trace-relay"]
fn all_who_are_told_of_calls_tell_the_same() {
    let prometheus = towerkit_programs::command("prometheus");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_observability"));
    let demo = demo.arg("--prometheus").arg(prometheus.get_program());
    let output = demo.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let shown = String::from_utf8(output.stdout).unwrap();
    for part in [
        "a call too many: 429",
        "stringsvc: server POST /uppercase",
        "Calls by outcome, says Prometheus",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
}
