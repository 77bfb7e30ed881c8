//! libFuzzer over [`caudal_fuzz::decoder`]: messages to records.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| caudal_fuzz::decoder::check(bytes));
