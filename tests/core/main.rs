//! Tests of the core through its public entry functions: conformance, tables, laws.
