//! Findings about a field: where it is, what is wrong, what would be right.

use std::fmt;

/// The kind of a finding, in the words of Kubernetes' own field errors (A-VAL driver, spec 10 section 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldErrorKind {
    /// A value that must be there is missing.
    Required,
    /// The value has the right type and is not acceptable.
    Invalid,
    /// The value is none of the values that are allowed.
    NotSupported,
    /// The value stands twice where it may stand once.
    Duplicate,
    /// What the value names does not exist.
    NotFound,
    /// The member may not be set here.
    Forbidden,
    /// The value is longer than allowed.
    TooLong,
    /// The value has the wrong JSON type.
    TypeInvalid,
    /// A feature of the API that this release does not implement yet.
    Unavailable,
}

impl FieldErrorKind {
    /// The Kubernetes word, as it stands in `status.details.causes[].reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid | Self::Unavailable => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// One finding: path of the field, kind, what was found and what would be right, and the rule that says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldError {
    /// Path as Kubernetes writes it: `spec.containers[0].name`.
    pub path: String,
    /// What kind of mistake it is.
    pub kind: FieldErrorKind,
    /// For people: what was found, what would be right.
    pub detail: String,
    /// Id of the rule in `docs/spec/`, for example `A-VAL-12`.
    pub rule: &'static str,
}

impl FieldError {
    /// A finding at `path`.
    pub fn new(
        path: impl Into<String>,
        kind: FieldErrorKind,
        detail: impl Into<String>,
        rule: &'static str,
    ) -> Self {
        Self { path: path.into(), kind, detail: detail.into(), rule }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.path, self.detail, self.rule)
    }
}
