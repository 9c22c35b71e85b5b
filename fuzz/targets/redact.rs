//! See `helix_fuzz::properties::redact`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| helix_fuzz::properties::redact(bytes));
