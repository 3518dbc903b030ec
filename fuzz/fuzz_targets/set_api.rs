#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sidecarset_fuzz::set_api(bytes));
