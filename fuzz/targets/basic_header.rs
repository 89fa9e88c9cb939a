#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| towerkit_tests::basic_header(data));
