//! A span for each admission, for OpenTelemetry. Built only with the cargo feature `otlp`; without it, and without
//! `--otlp-endpoint`, nothing here costs an admission more than looking at a flag.

#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(not(feature = "otlp"))]
pub use off::{Span, Spans};
#[cfg(feature = "otlp")]
pub use otlp::{Span, Spans};
