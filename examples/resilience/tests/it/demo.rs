//! A6.7: the demo, read as a user reads it.

use std::{process::Command, time::Instant};

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

/// The rate is that of a real clock, and a slow machine takes longer: everything is compared within the run.
#[test]
fn twice_the_load_is_admitted_to_the_limit_and_a_callee_that_is_down_is_spared() {
    let start = Instant::now();
    let seconds = seconds(&["--seconds", "2"]);
    let elapsed = start.elapsed().as_secs_f64();
    assert_eq!(seconds.len(), 10);
    let sum = |of: fn(&Second) -> u64| seconds.iter().map(of).sum::<u64>();
    let admitted = sum(|second| second.admitted);
    assert_eq!(sum(|second| second.offered), 2000);
    assert_eq!(admitted + sum(|second| second.limited), 2000);
    let most = 11.0 + 100.0 * elapsed;
    assert!(admitted as f64 <= most, "{admitted} admitted of {most}");
    let down: Vec<_> = (seconds.iter())
        .filter(|second| second.upstream == "down")
        .collect();
    let (arrived, admitted) = (down[1].arrived, down[1].admitted);
    assert!(arrived * 4 <= admitted, "{arrived} of {admitted} arrived");
    let well = &seconds[9];
    assert!(well.served > 0, "none of {} served", well.admitted);
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
