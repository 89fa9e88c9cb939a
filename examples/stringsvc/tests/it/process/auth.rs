//! `--auth`: callers without valid credentials are rejected.

use std::{env, fs, path::PathBuf, process};

use super::{BODY, command, start};

/// A file in the temporary folder, which is removed when the test ends.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, content: &str) -> Self {
        let path = env::temp_dir().join(format!("stringsvc-{name}-{}", process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Calls with these headers, and returns the status.
fn statuses<const N: usize>(flag: &str, headers: [&[(&str, &str)]; N]) -> [u16; N] {
    let service = start(&["--auth", flag]);
    let mut client = service.client();
    assert_eq!(client.get("/healthz").status, 200);
    headers.map(|headers| {
        let answer = client.send("POST", "/uppercase", headers, BODY.as_bytes());
        assert!(answer.status == 200 || !answer.body.contains("HELLO"));
        answer.status
    })
}

#[test]
fn a_name_and_a_password_are_those_of_the_file() {
    let users = "ann:$2y$04$TgmBEcadOYsBtrFY93.fD.2pgbe2ZGeFlx0aXqibjpW.lEd1bWOTm\n";
    let users = Temporary::new("users", users);
    let flag = format!("basic:{}", users.0.display());
    let calls: [&[(&str, &str)]; 3] = [
        &[],
        // ann:open sesame, and ann:wrong
        &[("authorization", "Basic YW5uOm9wZW4gc2VzYW1l")],
        &[("authorization", "Basic YW5uOndyb25n")],
    ];
    assert_eq!(statuses(&flag, calls), [401, 200, 401]);
}

#[test]
fn an_api_key_is_one_whose_digest_is_in_the_file() {
    // The key is `foo`.
    let digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    let keys = Temporary::new("keys", &format!("billing:{digest}\n"));
    let flag = format!("api-key:{}", keys.0.display());
    let calls: [&[(&str, &str)]; 3] = [&[], &[("x-api-key", "foo")], &[("x-api-key", "bar")]];
    assert_eq!(statuses(&flag, calls), [401, 200, 401]);
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_exits_with_2() {
    let output = command(&["--auth", "basic:/nonexistent"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("/nonexistent"), "{stderr}");
}
