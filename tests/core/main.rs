//! Tests of the core through its public entry functions: conformance, tables, laws.

// Always true here; it tells clippy that helpers outside of test functions may panic too.
#[cfg(test)]
mod allocations;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod injection;
#[cfg(test)]
mod injection_laws;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod normal_form;
#[cfg(test)]
mod sidecarset;
#[cfg(test)]
mod sidecarset_laws;
#[cfg(test)]
mod validation;
#[cfg(test)]
mod validation_laws;
#[cfg(test)]
mod validation_tables;
#[cfg(test)]
mod world;
