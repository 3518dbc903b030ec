//! resourcesPolicy: a sidecar's resources computed from those of the Pod's own containers.
//!
//! [`ResourcesPolicy::compile`] runs once per set, [`ResourcesPolicy::resolve`] once per Pod. Which containers are candidates
//! (I-RES-1, I-RES-2, I-RES-5) is decided by the caller.

use std::fmt;

use regex::Regex;
use serde_json::Value as Json;

use crate::api::quantity::{Quantity, QuantityError};

mod aggregate;
pub mod expr;

pub use aggregate::Mode;
use expr::{ExprError, Expression, Value};

/// A `resourcesPolicy` made ready for Pods. Mistakes in it are kept, and reported when a Pod would be changed by it.
#[derive(Debug, Clone)]
pub struct ResourcesPolicy {
    mode: Mode,
    pattern: String,
    /// The pattern, or what is wrong with it.
    regex: Result<Regex, String>,
    /// In the order of [`Field::ALL`]; `None` for an empty expression.
    expressions: [Option<FieldExpression>; 4],
}

/// The texts of one container's limits or requests, as they stand in the Pod (a JSON number as its literal).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts<'a> {
    /// Quantity under `cpu`.
    pub cpu: Option<&'a str>,
    /// Quantity under `memory`.
    pub memory: Option<&'a str>,
}

/// A container whose resources may count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// Name of the container.
    pub name: &'a str,
    /// `resources.limits`.
    pub limits: Amounts<'a>,
    /// `resources.requests`.
    pub requests: Amounts<'a>,
}

/// One of the four values that a policy can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `limits.cpu`
    CpuLimit,
    /// `limits.memory`
    MemoryLimit,
    /// `requests.cpu`
    CpuRequest,
    /// `requests.memory`
    MemoryRequest,
}

/// What the policy sets: canonical quantities, absent where the container gets none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// `limits.cpu`
    pub cpu_limit: Option<String>,
    /// `limits.memory`
    pub memory_limit: Option<String>,
    /// `requests.cpu`
    pub cpu_request: Option<String>,
    /// `requests.memory`
    pub memory_request: Option<String>,
    /// What the author of the set will not have meant; for warnings.
    pub notes: Vec<Note>,
}

/// A result that the author of a set will not have meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A constant limit is left out because a target container has no such limit.
    ///
    /// Rule: I-DEF-20.
    ConstantLimitDropped {
        /// The limit.
        field: Field,
        /// Its expression.
        expression: String,
    },
    /// A number literal that is none counted as 0.
    ///
    /// Rule: I-DEF-17.
    MalformedNumber {
        /// The value that was computed.
        field: Field,
        /// Its expression.
        expression: String,
        /// The literal.
        literal: String,
    },
}

/// Why a container's resources cannot be computed. All of them deny the Pod; the texts are upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourcesError {
    /// `targetContainersNameRegex` does not compile.
    ///
    /// Rule: I-RES-3. Decision: D-28.
    #[error("failed to get target containers: invalid regex pattern {pattern:?}: {detail}")]
    InvalidRegex {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        detail: String,
    },
    /// No candidate has a name that the pattern finds.
    ///
    /// Rule: I-RES-4.
    #[error("no containers match the regex pattern {pattern:?}")]
    NoTarget {
        /// The pattern.
        pattern: String,
    },
    /// A target container's own value is no quantity.
    #[error("container {container:?}: resources.{field}: {found:?} is no quantity: {error}")]
    TargetQuantity {
        /// Name of the target container.
        container: String,
        /// Where the value stands.
        field: Field,
        /// The value.
        found: String,
        /// What is wrong with it.
        error: QuantityError,
    },
    /// An expression has no result.
    ///
    /// Rule: I-RES-15.
    #[error("failed to evaluate {} expression: failed to parse expression {expression:?}: {error}", field.in_words())]
    Expression {
        /// The value to be computed.
        field: Field,
        /// Its expression.
        expression: String,
        /// What is wrong with it.
        error: ExprError,
    },
}

#[derive(Debug, Clone)]
struct FieldExpression {
    text: String,
    program: Expression,
}

impl Field {
    /// In the order of evaluation (I-RES-15).
    pub const ALL: [Self; 4] = [Self::CpuLimit, Self::MemoryLimit, Self::CpuRequest, Self::MemoryRequest];

    /// Member of `resourcesExpr` or `resources`, and member of that.
    #[must_use]
    pub fn path(self) -> [&'static str; 2] {
        match self {
            Self::CpuLimit => ["limits", "cpu"],
            Self::MemoryLimit => ["limits", "memory"],
            Self::CpuRequest => ["requests", "cpu"],
            Self::MemoryRequest => ["requests", "memory"],
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::CpuLimit => "CPU limits",
            Self::MemoryLimit => "memory limits",
            Self::CpuRequest => "CPU requests",
            Self::MemoryRequest => "memory requests",
        }
    }

    fn is_limit(self) -> bool {
        matches!(self, Self::CpuLimit | Self::MemoryLimit)
    }

    fn text_of<'a>(self, target: &Target<'a>) -> Option<&'a str> {
        match self {
            Self::CpuLimit => target.limits.cpu,
            Self::MemoryLimit => target.limits.memory,
            Self::CpuRequest => target.requests.cpu,
            Self::MemoryRequest => target.requests.memory,
        }
    }
}

/// `limits.cpu` and so on.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path().join("."))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConstantLimitDropped { field, expression } => write!(
                f,
                "resourcesPolicy: {field} {expression:?} is not set, because a target container has no {field}"
            ),
            Self::MalformedNumber { field, expression, literal } => write!(
                f,
                "resourcesPolicy: in {field} {expression:?}, {literal:?} is no number and counts as 0; units are m k M G T P Ki Mi Gi Ti Pi"
            ),
        }
    }
}

impl ResourcesPolicy {
    /// Compiles a `resourcesPolicy` as it stands in a set. Members that are absent or no strings count as empty.
    ///
    /// Rule: I-RES-3, I-RES-9, I-RES-16.
    #[must_use]
    pub fn compile(policy: &Json) -> Self {
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let pattern = text(&policy["targetContainersNameRegex"]);
        let expressions = Field::ALL.map(|field| {
            let [part, resource] = field.path();
            FieldExpression::compile(text(&policy["resourcesExpr"][part][resource]))
        });
        Self {
            mode: Mode::from_name(&text(&policy["targetContainersMode"])),
            regex: Regex::new(&pattern).map_err(|error| first_reason(&error)),
            pattern,
            expressions,
        }
    }

    /// Computes the resources of the container that carries this policy; `candidates` are the containers that may count.
    ///
    /// # Errors
    ///
    /// [`ResourcesError`], the first in the order of I-RES-15.
    ///
    /// Rule: I-RES-3, I-RES-4, I-RES-11, I-RES-12, I-RES-15.
    pub fn resolve(&self, candidates: &[Target<'_>]) -> Result<Resources, ResourcesError> {
        let targets = self.targets(candidates)?;
        let mut notes = Vec::new();
        let mut values = [None, None, None, None];
        for ((field, expression), value) in Field::ALL.into_iter().zip(&self.expressions).zip(&mut values) {
            if let Some(expression) = expression {
                *value = self.resolve_field(field, expression, &targets, &mut notes)?;
            }
        }
        let [cpu_limit, memory_limit, cpu_request, memory_request] = values;
        Ok(Resources { cpu_limit, memory_limit, cpu_request, memory_request, notes })
    }

    /// Rule: I-RES-3, I-RES-4.
    fn targets<'t, 'a>(&self, candidates: &'t [Target<'a>]) -> Result<Vec<&'t Target<'a>>, ResourcesError> {
        let regex = self.regex.as_ref().map_err(|detail| ResourcesError::InvalidRegex {
            pattern: self.pattern.clone(),
            detail: detail.clone(),
        })?;
        let targets: Vec<_> = candidates.iter().filter(|target| regex.is_match(target.name)).collect();
        if targets.is_empty() {
            return Err(ResourcesError::NoTarget { pattern: self.pattern.clone() });
        }
        Ok(targets)
    }

    /// Rule: I-RES-11, I-RES-12.
    fn resolve_field(
        &self,
        field: Field,
        expression: &FieldExpression,
        targets: &[&Target<'_>],
        notes: &mut Vec<Note>,
    ) -> Result<Option<String>, ResourcesError> {
        let values =
            targets.iter().map(|target| quantity_of(target, field)).collect::<Result<Vec<_>, _>>()?;
        let aggregate = if field.is_limit() {
            aggregate::limit(self.mode, &values)
        } else {
            Some(aggregate::request(self.mode, &values))
        };
        let Some(aggregate) = aggregate else {
            if !expression.program.uses_variable() {
                notes.push(Note::ConstantLimitDropped { field, expression: expression.text.clone() });
            }
            return Ok(None);
        };
        let result = expression.program.quantity(&[Value::Quantity(aggregate)]).map_err(|error| {
            ResourcesError::Expression { field, expression: expression.text.clone(), error }
        })?;
        notes.extend(expression.program.malformed_numbers().iter().map(|literal| Note::MalformedNumber {
            field,
            expression: expression.text.clone(),
            literal: literal.clone(),
        }));
        Ok(Some(result.to_string()))
    }
}

impl FieldExpression {
    /// `None` for the empty expression. The one variable is called after the text, not after the field (I-DEF-22).
    ///
    /// Rule: I-RES-16.
    fn compile(text: String) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let program = Expression::compile(&text, &[variable_of(&text)]);
        Some(Self { text, program })
    }
}

/// The name of the one variable of an expression.
///
/// Rule: I-RES-16, A-EXPR-21.
pub(crate) fn variable_of(expression: &str) -> &'static str {
    if has_word(expression, "memory") { "memory" } else { "cpu" }
}

/// Whether `word` stands in `text` with no ASCII letter, digit or `_` beside it.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    text.match_indices(word).any(|(start, _)| {
        let before = start.checked_sub(1).and_then(|index| text.as_bytes().get(index));
        !is_part(before) && !is_part(text.as_bytes().get(start + word.len()))
    })
}

fn quantity_of(target: &Target<'_>, field: Field) -> Result<Option<Quantity>, ResourcesError> {
    let Some(text) = field.text_of(target) else { return Ok(None) };
    match Quantity::parse(text.trim()) {
        Ok(quantity) => Ok(Some(quantity)),
        Err(error) => Err(ResourcesError::TargetQuantity {
            container: target.name.to_owned(),
            field,
            found: text.to_owned(),
            error,
        }),
    }
}

/// The reason of a regex error without the drawing around it.
pub(crate) fn first_reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default();
    reason.strip_prefix("error: ").unwrap_or(reason).to_owned()
}

#[cfg(test)]
mod tests;
