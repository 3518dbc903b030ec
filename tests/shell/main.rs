//! Tests of the shell through its seams: router, sockets, files, command line.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

#[path = "../fixtures/admission.rs"]
mod admission;
mod bodies;
mod certificates;
mod chart;
mod client_ca;
mod command_line;
mod connections;
mod corpus;
mod debug;
mod endurance;
mod explain;
mod fake_api;
mod faults;
mod fixtures;
mod folder;
#[path = "../conformance/injection/judge.rs"]
mod judge;
mod layering;
mod links;
mod lint;
mod probe_port;
mod process;
mod rollout;
mod router;
mod rules;
mod settings;
mod sidecarset_api;
mod sight;
mod socket;
mod spans;
mod support;
mod watches;
mod wire;
