//! libFuzzer over [`caudal_fuzz::run`]: bytes to a sorted run.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| caudal_fuzz::run::check(bytes));
