//! go-kit's stringsvc3: other instances answer `uppercase`.

use std::{env, fs, process};

use super::{BODY, command, start, wait_until};

const UPPERCASE: &str = r#"{"v":"HELLO, WORLD"}"#;

/// Returns the number of calls that an instance has logged.
fn lines(service: towerkit_programs::Service) -> usize {
    service.signal("TERM");
    let log = String::from_utf8(service.end().stderr).unwrap();
    log.lines()
        .filter(|line| line.contains("operation=/uppercase"))
        .count()
}

#[test]
fn instances_answer_one_after_the_other_and_count_is_answered_here() {
    let instances = [start(&[]), start(&[]), start(&[])];
    let addresses = instances
        .each_ref()
        .map(|instance| instance.address().to_string());
    let front = start(&["--proxy", &addresses.join(",")]);
    let mut client = front.client();
    for _ in 0..6 {
        assert_eq!(client.post("/uppercase", BODY).body, UPPERCASE);
        assert_eq!(client.post("/count", BODY).body, r#"{"v":12}"#);
    }
    let empty = client.post("/uppercase", r#"{"s":""}"#);
    assert_eq!(
        (empty.status, &*empty.body),
        (200, r#"{"v":"","err":"empty string"}"#)
    );
    drop(client);
    let mut calls = instances.map(lines);
    calls.sort_unstable();
    assert_eq!(calls, [2, 2, 3]);
}

/// go-kit's stringsvc3 answers 36 of 36 calls.
#[test]
fn an_instance_that_is_killed_costs_no_call_and_without_instances_the_answer_is_503() {
    let instances = [start(&[]), start(&[]), start(&[])];
    let addresses = instances
        .each_ref()
        .map(|instance| instance.address().to_string());
    let front = start(&["--proxy", &addresses.join(",")]);
    let mut client = front.client();
    assert_eq!(client.post("/uppercase", BODY).status, 200);
    let [first, second, third] = instances;
    second.signal("KILL");
    let _ = second.end();
    for call in 0..36 {
        assert_eq!(client.post("/uppercase", BODY).body, UPPERCASE, "{call}");
    }
    for instance in [first, third] {
        instance.signal("KILL");
        let _ = instance.end();
    }
    let answer = client.post("/uppercase", BODY);
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(!answer.body.contains(&addresses[0]), "{}", answer.body);
}

#[test]
fn instances_from_a_file_follow_its_changes() {
    let path = env::temp_dir().join(format!("stringsvc-instances-{}", process::id()));
    let instances = [start(&[]), start(&[])];
    let addresses = instances
        .each_ref()
        .map(|instance| instance.address().to_string());
    fs::write(&path, &addresses[0]).unwrap();
    let front = start(&["--discover", &format!("file:{}", path.display())]);
    let mut client = front.client();
    wait_until("the first instance answers", || {
        client.post("/uppercase", BODY).status == 200
    });
    fs::write(&path, &addresses[1]).unwrap();
    let [first, second] = instances;
    let mut other = second.client();
    let calls = |client: &mut towerkit_programs::Client| {
        let metrics = client.get("/metrics").body;
        metrics
            .lines()
            .filter(|line| line.contains(r#"_count{"#) && line.contains("/uppercase"))
            .count()
    };
    wait_until("the second instance answers", || {
        assert_eq!(client.post("/uppercase", BODY).body, UPPERCASE);
        calls(&mut other) > 0
    });
    drop((first, second));
    fs::remove_file(path).unwrap();
}

#[test]
fn a_registry_that_cannot_be_used_is_named_and_exits_with_2() {
    for (flags, expected) in [
        (["--proxy", "localhost"], "invalid address"),
        (
            ["--discover", "redis://127.0.0.1:6379"],
            "expected static:, file:, dns:",
        ),
        #[cfg(not(feature = "etcd"))]
        (
            ["--discover", "etcd://127.0.0.1:2379/strings"],
            "--features etcd",
        ),
        (
            ["--discover", "dns://localhost"],
            "expected dns://HOST:PORT",
        ),
    ] {
        let output = command(&flags).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
    let output = command(&["--register", "file:x"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("take registrations"), "{stderr}");
}
