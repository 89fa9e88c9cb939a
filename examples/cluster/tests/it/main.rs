//! The demo as a user runs it.

use std::process::Command;

/// SD-04: a killed instance costs no call, a slow one gets few, and all get their share again.
#[test]
fn no_call_fails_at_the_front() {
    let output = Command::new(env!("CARGO_BIN_EXE_cluster"))
        .args(["--seconds", "3", "--rate", "100"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 15, "{text}");
    // The columns are counted from the end, because the names of the phases have spaces.
    let column = |row: &[&str], from_the_end: usize| -> u64 {
        row[row.len() - from_the_end].parse().unwrap()
    };
    for row in &rows {
        assert_eq!(column(row, 3), 0, "{text}");
    }
    // The registration of b has run out.
    let last_without_b = &rows[5];
    assert_eq!(
        (column(last_without_b, 6), column(last_without_b, 8)),
        (0, 2),
        "{text}"
    );
    let slow: u64 = rows[9..12].iter().map(|row| column(row, 5)).sum();
    let another: u64 = rows[9..12].iter().map(|row| column(row, 6)).sum();
    assert!(slow < another, "{text}");
}

#[test]
fn an_unknown_registry_is_an_error_that_says_what_is_expected() {
    let output = Command::new(env!("CARGO_BIN_EXE_cluster"))
        .args(["--registry", "redis://127.0.0.1"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("expected static:, file:, dns:, consul:, etcd: or zk:"),
        "{text}"
    );
}
