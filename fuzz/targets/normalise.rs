//! See `helix_fuzz::properties::normalise`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| helix_fuzz::properties::normalise(bytes));
