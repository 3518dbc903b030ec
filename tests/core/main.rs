//! Tests of the core through its public entry functions: conformance, tables, laws, bad input, fuzz seeds, allocations.
#![allow(clippy::disallowed_methods, reason = "only the core itself does no I/O; its tests read fixtures")]

// Always true here; it tells clippy that helpers outside of test functions may panic too.
#[cfg(test)]
mod allocations;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod control;
#[cfg(test)]
mod fuzz_seeds;
#[cfg(test)]
mod fuzz_targets;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod injection;
#[cfg(test)]
mod injection_laws;
#[cfg(test)]
#[path = "../conformance/injection/judge.rs"]
mod judge;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod live_namespace;
#[cfg(test)]
mod normal_form;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod sidecarset;
#[cfg(test)]
mod sidecarset_laws;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod validation;
#[cfg(test)]
mod validation_laws;
#[cfg(test)]
mod validation_tables;
#[cfg(test)]
mod world;
