//! `resourcesPolicy`: the pattern of the target containers and the four expressions.

use regex::Regex;
use rustc_hash::FxHashMap;
use serde_json::Value as Json;

use super::findings::{Findings, quoted};
use crate::api::quantity::Quantity;
use crate::content::text;
use crate::resources::expr::{ExprError, Expression, Value};
use crate::resources::{Field, first_reason, variable_of};

/// Patterns that were compiled before in the same set, each with what is wrong with it. Compiling is what costs most here, and
/// containers of a set tend to have the same.
#[derive(Debug, Default)]
pub(super) struct Patterns<'v>(FxHashMap<&'v str, Option<String>>);

impl<'v> Patterns<'v> {
    /// Why a pattern is no regular expression; `None` if it is one.
    fn problem(&mut self, pattern: &'v str) -> Option<&str> {
        let compile = || Regex::new(pattern).err().map(|error| first_reason(&error));
        self.0.entry(pattern).or_insert_with(compile).as_deref()
    }
}

/// The policy of one container, `path` being the policy's own.
///
/// Rule: A-VAL-36, A-VAL-37, A-VAL-38.
/// Decision: D-28.
pub(super) fn validate<'v>(
    container: &'v Json,
    path: &str,
    patterns: &mut Patterns<'v>,
    findings: &mut Findings,
) {
    const RULE: &str = "A-VAL-37";
    let policy = &container["resourcesPolicy"];
    let has_entries =
        |member: &str| container["resources"][member].as_object().is_some_and(|amounts| !amounts.is_empty());
    if has_entries("limits") || has_entries("requests") {
        let detail = format!(
            "container {}: must not be set together with resources.limits or resources.requests, which the policy computes; remove \
             one of them",
            quoted(text(&container["name"]))
        );
        findings.invalid(path, detail, RULE);
        return;
    }
    let pattern = text(&policy["targetContainersNameRegex"]);
    let pattern_path = format!("{path}.targetContainersNameRegex");
    if pattern.is_empty() {
        findings.required(pattern_path, "must be given; \".*\" finds every container", RULE);
    } else if let Some(problem) = patterns.problem(pattern) {
        let detail = format!("found {}, must be a regular expression: {problem}", quoted(pattern));
        findings.invalid(pattern_path, detail, "A-VAL-38");
    }
    let expressions = &policy["resourcesExpr"];
    if expressions["limits"].is_null() && expressions["requests"].is_null() {
        let detail = "must have limits or requests: there is nothing to compute";
        findings.invalid(format!("{path}.resourcesExpr"), detail, RULE);
    }
    for field in Field::ALL {
        let [part, resource] = field.path();
        let expression = text(&expressions[part][resource]);
        if !expression.is_empty() {
            let path = format!("{path}.resourcesExpr.{part}.{resource}");
            validate_expression(expression, resource, &path, findings);
        }
    }
}

/// Upstream evaluates with the number 1 for the variable `resource`, and so refuses `cpu-2` and accepts what always fails later.
/// The latter is refused too.
///
/// Rule: A-EXPR-20, A-EXPR-21, A-EDGE-9.
/// Decision: D-12.
fn validate_expression(text: &str, resource: &str, path: &str, findings: &mut Findings) {
    let program = Expression::compile(text, &[resource]);
    if let Err(error) = program.quantity(&[Value::Number(1.0)]) {
        let hint = match error {
            ExprError::Negative(_) => {
                format!("; it is tried with {resource} = 1 and must not be negative then, see max(0, ...)")
            }
            ExprError::UndefinedVariable(_) => format!("; the one variable here is {resource}"),
            _ => String::new(),
        };
        let detail = format!("found {}, which cannot be computed: {error}{hint}", quoted(text));
        findings.invalid(path, detail, "A-EXPR-20");
        return;
    }
    if let Some(error) = certain_error(text) {
        let detail = format!("found {}, which cannot be computed for any Pod: {error}", quoted(text));
        findings.invalid(path, detail, "A-EDGE-9");
    }
    for literal in program.malformed_numbers() {
        let detail = format!(
            "found {}: {} is no number and counts as 0; units are m k M G T P Ki Mi Gi Ti Pi",
            quoted(text),
            quoted(literal)
        );
        findings.invalid_if_strict(path, detail, "A-EDGE-9");
    }
}

/// The error that an expression ends in for every Pod, where the variable is a quantity: which operands are quantities does not
/// depend on their values.
///
/// Rule: A-EXPR-9, A-EXPR-10, A-EXPR-21.
fn certain_error(text: &str) -> Option<ExprError> {
    let program = Expression::compile(text, &[variable_of(text)]);
    program.quantity(&[Value::Quantity(Quantity::from_milli(1000))]).err().filter(|error| {
        matches!(
            error,
            ExprError::QuantityProduct | ExprError::QuantityDivisor | ExprError::UndefinedVariable(_)
        )
    })
}
