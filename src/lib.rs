//! The shell of `sidecarset`: server, sources, command line. Rules live in `sidecarset_core`.
