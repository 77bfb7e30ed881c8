//! libFuzzer over [`caudal_fuzz::job_file`]: text to a job.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| caudal_fuzz::job_file::check(bytes));
