//! Lines of JSON, as the reader of another language sees them.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use towerkit_log::Format;
use tracing::info;

use crate::page::written;

/// Reads each line strictly, and prints it in a form that is easy to compare.
const SCRIPT: &str = r#"
import json, sys
def pairs(found):
    names = [name for name, _ in found]
    assert len(names) == len(set(names)), names
    return dict(found)
def reject(name):
    raise ValueError(name)
for line in sys.stdin.buffer.read().decode("utf-8", "strict").splitlines():
    event = json.loads(line, object_pairs_hook=pairs, parse_constant=reject)
    print(event["text"].encode().hex(), event["bytes"].encode().hex(), event["msg"].encode().hex())
"#;

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// LG-09
#[test]
#[ignore = "needs python3"]
fn python_reads_every_line() {
    let mut runner = TestRunner::deterministic();
    let event = (
        any::<String>(),
        vec(any::<u8>(), 0..12),
        any::<f64>(),
        any::<i128>(),
    );
    let events: Vec<_> = (0..2000)
        .map(|_| event.new_tree(&mut runner).unwrap().current())
        .collect();
    let lines = written(Format::Json, false, || {
        for (text, bytes, float, large) in &events {
            info!(
                text,
                bytes = bytes.as_slice(),
                float,
                large,
                level = 1,
                nan = f64::NAN,
                up = f64::INFINITY,
                "{text}"
            );
        }
    });
    let mut python = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    // It reads everything before it prints anything.
    python
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let read = python.wait_with_output().unwrap();
    assert!(read.status.success());
    let read = String::from_utf8(read.stdout).unwrap();
    assert_eq!(read.lines().count(), events.len());
    for (line, (text, bytes, ..)) in read.lines().zip(&events) {
        let expected = [text.as_str(), &String::from_utf8_lossy(bytes), text];
        let expected = expected.map(hex).join(" ");
        assert_eq!(line, expected);
    }
}
