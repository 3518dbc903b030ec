//! The shell of `sidecarset`: server, sources, command line. Rules live in `sidecarset_core`.
//!
//! The modules are public so that tests can call the seams (`server::app`, `tls::accept::serve`, `source::folder::load`)
//! without starting a process; the crate is not meant as a library for others.

pub mod causes;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod draw;
pub mod duration;
pub mod faults;
pub mod metrics;
pub mod pauses;
pub mod server;
pub mod shutdown;
pub mod source;
pub mod spans;
pub mod telemetry;
pub mod tls;
