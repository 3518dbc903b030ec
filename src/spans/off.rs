//! What is there without the feature `otlp`: nothing that could cost something.

use axum::http::HeaderMap;
use tokio::runtime::Handle;

/// Makes no spans.
#[derive(Debug)]
pub struct Spans;

impl Spans {
    /// Makes none.
    #[must_use]
    pub fn none() -> Self {
        Self
    }

    /// Refuses.
    ///
    /// # Errors
    ///
    /// Always: this program cannot export spans.
    pub fn export(_endpoint: &str, _background: Handle) -> Result<Self, String> {
        Err("this program was built without traces; build it with --features otlp, or leave the setting out"
            .to_owned())
    }

    /// A span that is none.
    #[must_use]
    pub fn start(&self, _headers: &HeaderMap) -> Span {
        Span
    }

    /// Nothing is waiting.
    pub fn flush(&self) {}
}

/// No span.
#[derive(Debug)]
pub struct Span;

impl Span {
    /// Does not ask for the attributes.
    pub fn describe<const N: usize>(&mut self, _attributes: impl FnOnce() -> [(&'static str, String); N]) {}

    /// Does nothing.
    pub fn fail(&mut self, _code: u16, _reason: &'static str) {}
}
