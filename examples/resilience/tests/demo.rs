//! A6.7: the demo, read as a user reads it.

use std::process::Command;

/// One line of the table.
struct Second {
    upstream: String,
    offered: u64,
    limited: u64,
    admitted: u64,
    served: u64,
    arrived: u64,
}

fn seconds(flags: &[&str]) -> Vec<Second> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resilience"));
    let output = command.arg("demo").args(flags).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    text.lines().skip(1).map(second).collect()
}

fn second(line: &str) -> Second {
    let numbers: Vec<u64> = (line.split_whitespace())
        .filter_map(|word| word.parse().ok())
        .collect();
    let [_, offered, limited, admitted, served, .., arrived, _] = numbers[..] else {
        panic!("{line}");
    };
    let words = line.split_whitespace().skip(1);
    let upstream = words.take_while(|word| word.parse::<u64>().is_err());
    Second {
        upstream: upstream.collect::<Vec<_>>().join(" "),
        offered,
        limited,
        admitted,
        served,
        arrived,
    }
}

#[test]
fn twice_the_load_is_admitted_to_the_limit_and_a_callee_that_is_down_is_spared() {
    let seconds = seconds(&["--seconds", "2"]);
    assert_eq!(seconds.len(), 10);
    let sum = |of: fn(&Second) -> u64| seconds.iter().map(of).sum::<u64>();
    let (offered, admitted) = (sum(|second| second.offered), sum(|second| second.admitted));
    assert!((1900..=2000).contains(&offered), "{offered} offered");
    assert!(
        (950..=1050).contains(&admitted),
        "{admitted} admitted at 100 a second"
    );
    assert_eq!(offered, admitted + sum(|second| second.limited));
    let down: Vec<_> = (seconds.iter())
        .filter(|second| second.upstream == "down")
        .collect();
    assert!(down[1].arrived <= 10, "{} arrived", down[1].arrived);
    let well = &seconds[9];
    assert!(
        well.served * 10 >= well.admitted * 9,
        "{} served",
        well.served
    );
}

#[test]
fn a_flag_that_makes_no_sense_exits_with_2() {
    for flags in [
        ["demo", "--rate", "0"],
        ["demo", "--limit", "-1"],
        ["serve", "--addr", "here"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_resilience"));
        assert_eq!(command.args(flags).output().unwrap().status.code(), Some(2));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_resilience"));
    let output = command.args(["serve", "--slots", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("limit"));
}
