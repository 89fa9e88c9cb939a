//! The fuzz targets without a fuzzer: over their corpus, and over random changes of it, which are the same in each run.

use std::{fs, path::Path};

use fastrand::Rng;

const INPUTS: usize = 10_000;
const LONGEST: usize = 1200;

/// What means something in one of the formats.
const WORDS: [&[u8]; 24] = [
    b"\xff",
    b"\r\n",
    b"\n",
    b"\"",
    b"\\",
    b"=",
    b",",
    b";",
    b"|#",
    b":",
    b"@",
    b"-",
    b"00",
    b"01",
    b" ",
    b"\t",
    b"\xe2\x80\xa8",
    b"\xe2\x80\xae",
    b"\xc2\x9b",
    b"\x1b[31m",
    b"\x7f",
    b"\xed\xa0\x80",
    b"f",
    b"0000000000000000",
];

/// The files of the corpus, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{target} has {} seeds", files.len());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn change(data: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let at = rng.usize(..=data.len());
    let end = rng.usize(at..=data.len());
    match rng.u8(..7) {
        0 => data.insert(at, rng.u8(..)),
        1 => drop(data.drain(at..end)),
        2 => drop(data.splice(at..at, WORDS[rng.usize(..WORDS.len())].iter().copied())),
        3 => data
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte ^= 1 << rng.u8(..8)),
        4 => {
            let piece = data[at..end].to_vec();
            data.splice(at..at, piece);
        }
        5 => {
            let from = rng.usize(..=other.len());
            data.truncate(at);
            data.extend_from_slice(&other[from..]);
        }
        _ => data
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte = rng.u8(..)),
    }
    data.truncate(LONGEST);
}

fn run(target: &str, body: fn(&[u8])) {
    let corpus = corpus(target);
    corpus.iter().for_each(|data| body(data));
    let mut rng = Rng::with_seed(10);
    for _ in 0..INPUTS {
        let mut data = corpus[rng.usize(..corpus.len())].clone();
        for _ in 0..rng.usize(1..6) {
            change(&mut data, &corpus[rng.usize(..corpus.len())], &mut rng);
        }
        body(&data);
    }
}

/// LG-01, LG-02, LG-03, LG-08
#[test]
fn logfmt_reads_back_from_one_line() {
    run("logfmt", towerkit_tests::logfmt);
}

/// LG-03, LG-08, LG-09
#[test]
fn json_reads_back_from_one_line() {
    run("json", towerkit_tests::json);
}

/// JR-06, JR-09
#[test]
fn a_body_of_json_rpc_is_answered_by_the_rules() {
    run("jsonrpc", towerkit_tests::jsonrpc);
}

/// JW-08
#[test]
fn a_token_is_read_by_the_rules() {
    run("jwt", towerkit_tests::jwt);
}

/// JW-08
#[test]
fn a_key_set_is_read_by_the_rules() {
    run("jwks", towerkit_tests::jwks);
}

/// TR-01
#[test]
fn a_traceparent_is_read_by_its_rules() {
    run("traceparent", towerkit_tests::traceparent);
}

/// TR-06
#[test]
fn a_tracestate_is_read_by_its_rules() {
    run("tracestate", towerkit_tests::tracestate);
}

/// TR-04
#[test]
fn b3_in_one_field_is_read_by_its_rules() {
    run("b3_single", towerkit_tests::b3_single);
}

/// TR-04
#[test]
fn b3_in_several_fields_is_read_by_its_rules() {
    run("b3_multi", towerkit_tests::b3_multi);
}

/// MT-06
#[test]
fn lines_of_statsd_are_taken_apart_as_they_were_meant() {
    run("statsd", towerkit_tests::statsd);
}

/// MT-06
#[test]
fn lines_of_graphite_are_taken_apart_as_they_were_meant() {
    run("graphite", towerkit_tests::graphite);
}

/// MT-06
#[test]
fn lines_of_influxdb_are_taken_apart_as_they_were_meant() {
    run("influx", towerkit_tests::influx);
}

/// AB-04
#[test]
fn basic_credentials_are_read_by_their_grammar() {
    run("basic_header", towerkit_tests::basic_header);
}

/// AB-04
#[test]
fn bearer_tokens_are_read_by_their_grammar() {
    run("bearer_header", towerkit_tests::bearer_header);
}

#[test]
fn a_password_file_is_read_by_its_lines() {
    run("password_file", towerkit_tests::password_file);
}
