//! libFuzzer over [`caudal_fuzz::commit_log`]: bytes to a record of the commit log.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| caudal_fuzz::commit_log::check(bytes));
