//! Entry point of the `sidecarset` binary.

fn main() {}
