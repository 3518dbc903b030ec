//! What the fuzz targets call. The functions live with the tests of the core, which run every seed through them too.

#[path = "../../tests/core/fuzz_targets.rs"]
mod fuzz_targets;
#[path = "../../tests/core/generate.rs"]
mod generate;
#[path = "../../tests/core/laws.rs"]
mod laws;
#[allow(dead_code, reason = "some helpers are for tests only")]
#[path = "../../tests/core/world.rs"]
mod world;

/// Target `review`.
pub fn review(bytes: &[u8]) {
    fuzz_targets::review(bytes);
}

/// Target `inject`.
pub fn inject(bytes: &[u8]) {
    fuzz_targets::inject(bytes);
}

/// Target `set_api`.
pub fn set_api(bytes: &[u8]) {
    fuzz_targets::set_api(bytes);
}
