//! Collecting what the rules find.

use super::Validation;
use crate::api::decode::shortened;
use crate::field::{FieldError, FieldErrorKind};

/// Findings and warnings so far.
#[derive(Debug)]
pub(crate) struct Findings {
    strict: bool,
    found: Validation,
}

impl Findings {
    /// `strict` turns the stricter checks into findings (D-12).
    pub(crate) fn new(strict: bool) -> Self {
        Self { strict, found: Validation::default() }
    }

    /// Something that denies.
    pub(crate) fn refuse(
        &mut self,
        path: impl Into<String>,
        kind: FieldErrorKind,
        detail: impl Into<String>,
        rule: &'static str,
    ) {
        self.found.findings.push(FieldError::new(path, kind, detail, rule));
    }

    /// A member that has to be there and is not, or what upstream calls so (A-EDGE-16).
    pub(crate) fn required(
        &mut self,
        path: impl Into<String>,
        detail: impl Into<String>,
        rule: &'static str,
    ) {
        self.refuse(path, FieldErrorKind::Required, detail, rule);
    }

    /// A value that is not acceptable.
    pub(crate) fn invalid(&mut self, path: impl Into<String>, detail: impl Into<String>, rule: &'static str) {
        self.refuse(path, FieldErrorKind::Invalid, detail, rule);
    }

    /// Something that is allowed and probably not meant.
    pub(crate) fn warn(&mut self, path: impl Into<String>, detail: impl Into<String>, rule: &'static str) {
        self.found.warnings.push(FieldError::new(path, FieldErrorKind::Invalid, detail, rule));
    }

    /// A check that upstream does not make: a warning, or a finding if validation is strict. Decision: D-12.
    pub(crate) fn invalid_if_strict(
        &mut self,
        path: impl Into<String>,
        detail: impl Into<String>,
        rule: &'static str,
    ) {
        if self.strict {
            self.invalid(path, detail, rule);
        } else {
            self.warn(path, detail, rule);
        }
    }

    /// Takes in findings of other rules.
    pub(crate) fn extend(&mut self, findings: Vec<FieldError>) {
        self.found.findings.extend(findings);
    }

    /// Takes in warnings of other rules.
    pub(crate) fn extend_warnings(&mut self, warnings: Vec<FieldError>) {
        self.found.warnings.extend(warnings);
    }

    /// Whether nothing denies so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.found.findings.is_empty()
    }

    /// Everything, sorted by path, each once.
    pub(crate) fn finish(self) -> Validation {
        let Validation { mut findings, mut warnings } = self.found;
        for list in [&mut findings, &mut warnings] {
            list.sort();
            list.dedup();
        }
        Validation { findings, warnings }
    }
}

/// A value as a finding shows it: in quotes, shortened if it is long.
pub(crate) fn quoted(value: &str) -> String {
    format!("{:?}", shortened(value))
}
