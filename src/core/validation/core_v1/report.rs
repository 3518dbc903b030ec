//! Collecting what was found, in words that name the value and what would be right.

use serde_json::Value;

use super::at::At;
use crate::api::decode::shortened;
use crate::field::{FieldError, FieldErrorKind};

/// Findings and warnings, in the order in which they were met.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<FieldError>,
    pub(super) warnings: Vec<FieldError>,
}

impl Report {
    /// Nothing at a place where `what` has to be.
    pub(super) fn required(&mut self, at: &At<'_, '_>, what: &str, rule: &'static str) {
        self.add(at, FieldErrorKind::Required, format!("must be given: {what}"), rule);
    }

    /// A value that is not what it `must be`.
    pub(super) fn invalid(&mut self, at: &At<'_, '_>, must_be: &str, rule: &'static str) {
        self.add(at, FieldErrorKind::Invalid, format!("found {}, must be {must_be}", found(at)), rule);
    }

    /// A value at odds with another place: `detail` tells it all.
    pub(super) fn conflict(&mut self, at: &At<'_, '_>, detail: impl Into<String>, rule: &'static str) {
        self.add(at, FieldErrorKind::Invalid, detail, rule);
    }

    /// A value that is none of `allowed`.
    pub(super) fn unsupported(&mut self, at: &At<'_, '_>, allowed: &[&str], rule: &'static str) {
        let detail = format!("found {}, must be one of {}", found(at), allowed.join(", "));
        self.add(at, FieldErrorKind::NotSupported, detail, rule);
    }

    /// A value that stands somewhere above already.
    pub(super) fn duplicate(&mut self, at: &At<'_, '_>, scope: &str, rule: &'static str) {
        let detail = format!("found {} again, must be unique among {scope}", found(at));
        self.add(at, FieldErrorKind::Duplicate, detail, rule);
    }

    /// A name that names nothing.
    pub(super) fn not_found(&mut self, at: &At<'_, '_>, must_be: &str, rule: &'static str) {
        self.add(at, FieldErrorKind::NotFound, format!("found {}, must be {must_be}", found(at)), rule);
    }

    /// Something that may not be set here.
    pub(super) fn forbidden(&mut self, at: &At<'_, '_>, detail: impl Into<String>, rule: &'static str) {
        self.add(at, FieldErrorKind::Forbidden, detail, rule);
    }

    /// A text of more than `limit` bytes.
    pub(super) fn too_long(&mut self, at: &At<'_, '_>, limit: usize, rule: &'static str) {
        let detail = format!("found {} bytes, must be at most {limit}", at.text().len());
        self.add(at, FieldErrorKind::TooLong, detail, rule);
    }

    /// Something that is accepted here and may be refused elsewhere.
    pub(super) fn warn(&mut self, at: &At<'_, '_>, detail: impl Into<String>, rule: &'static str) {
        self.warnings.push(FieldError::new(at.path(), FieldErrorKind::Invalid, detail, rule));
    }

    /// Reports a text or list that is missing or empty; `true` if it is there.
    pub(super) fn need(&mut self, at: &At<'_, '_>, what: &str, rule: &'static str) -> bool {
        let there = !at.is_empty();
        if !there {
            self.required(at, what, rule);
        }
        there
    }

    /// Reports a text that does not fulfil `is_right`.
    pub(super) fn expect(
        &mut self,
        at: &At<'_, '_>,
        is_right: impl Fn(&str) -> bool,
        must_be: &str,
        rule: &'static str,
    ) {
        if !is_right(at.text()) {
            self.invalid(at, must_be, rule);
        }
    }

    /// Reports a text that is missing, empty, or else does not fulfil `is_right`: one finding at most.
    pub(super) fn need_text(
        &mut self,
        at: &At<'_, '_>,
        is_right: impl Fn(&str) -> bool,
        must_be: &str,
        rule: &'static str,
    ) {
        if self.need(at, must_be, rule) {
            self.expect(at, is_right, must_be, rule);
        }
    }

    /// Reports a word that is missing, empty, or else none of `allowed`.
    pub(super) fn need_one_of(&mut self, at: &At<'_, '_>, allowed: &[&str], rule: &'static str) {
        if at.text().is_empty() {
            self.required(at, &format!("one of {}", allowed.join(", ")), rule);
        } else {
            self.one_of(at, allowed, rule);
        }
    }

    /// Reports a word that is none of `allowed`, absent counting as empty.
    pub(super) fn one_of(&mut self, at: &At<'_, '_>, allowed: &[&str], rule: &'static str) {
        if !allowed.contains(&at.text()) {
            self.unsupported(at, allowed, rule);
        }
    }

    /// Reports a whole number that does not fulfil `is_right`.
    pub(super) fn expect_number(
        &mut self,
        at: &At<'_, '_>,
        is_right: impl Fn(i64) -> bool,
        must_be: &str,
        rule: &'static str,
    ) {
        if !is_right(at.number()) {
            self.invalid(at, must_be, rule);
        }
    }

    fn add(&mut self, at: &At<'_, '_>, kind: FieldErrorKind, detail: impl Into<String>, rule: &'static str) {
        self.findings.push(FieldError::new(at.path(), kind, detail, rule));
    }
}

/// The value as the reader knows it, cut if it is long.
fn found(at: &At<'_, '_>) -> String {
    match at.value() {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => format!("{:?}", shortened(text)),
        Some(other) => shortened(&other.to_string()),
    }
}
