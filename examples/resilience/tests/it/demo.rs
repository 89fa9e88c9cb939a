//! A6.7: the output of the demo.

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
    let lines = text.lines().skip(1);
    let table = lines.take_while(|line| line.starts_with(' '));
    table.map(second).collect()
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
fn calls_are_admitted_up_to_the_limit_and_few_reach_an_upstream_that_is_down() {
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
    let healthy = &seconds[9];
    assert!(healthy.served > 0, "0 of {} served", healthy.admitted);
}

#[test]
fn an_invalid_flag_exits_with_2() {
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

#[test]
fn the_page_is_well_formed_and_has_each_series_of_each_run() {
    let path = std::env::temp_dir().join(format!("resilience-{}.html", std::process::id()));
    seconds(&["--seconds", "1", "--html", path.to_str().unwrap()]);
    let page = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_well_formed(&page);
    for part in ["<script", "<link", "src=", "@import", "url("] {
        assert!(!page.contains(part), "{part}");
    }
    let runs: Vec<&str> = page.split("<section data-run=").skip(1).collect();
    assert_eq!(runs.len(), 6);
    for run in runs {
        for series in [
            "p99",
            "admitted",
            "served",
            "rejected by the limit",
            "rejected by the breaker",
            "failed",
            "arrived at the upstream",
            "retried",
            "hedged",
            "state",
        ] {
            let (_, path) = (run.split_once(&format!("data-series=\"{series}\" d=\"")))
                .unwrap_or_else(|| panic!("no {series} in {}", &run[..40]));
            let path = path.split('"').next().unwrap();
            assert!(
                path.starts_with('M') || series.starts_with("p99"),
                "{series}"
            );
        }
    }
}

/// Checks that every tag is closed in order, that attributes are quoted, and that no character is left unescaped.
fn assert_well_formed(page: &str) {
    let mut open = Vec::new();
    let page = page.strip_prefix("<!DOCTYPE html>\n").unwrap();
    for part in page.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap();
        assert!(!text.contains('&'), "{text}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
