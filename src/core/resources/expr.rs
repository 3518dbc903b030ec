//! The expression language of `resourcesExpr`: compiled once, evaluated per Pod.
//!
//! An expression becomes a list of steps for a stack machine, in the order in which upstream's parser computes. So the
//! error that is reported is upstream's (I-RES-33), and evaluation neither parses nor recurses.

use std::fmt;

use crate::api::quantity::{Quantity, QuantityError};

mod lexer;
mod parser;

use parser::Parser;

/// How deep parentheses and signs may be nested.
const MAX_DEPTH: usize = 200;

/// A value while computing (I-RES-26).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A number without unit.
    Number(f64),
    /// An exact decimal with a format.
    Quantity(Quantity),
}

/// Why an expression has no result; the texts are upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// The text follows no rule of the grammar; line and column behind the offending token, from 1.
    #[error("parse error: syntax error at line {line}, col {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
    /// More than 200 open parentheses and signs.
    #[error("parse error: nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A literal with a unit that is no quantity (A-EXPR-4).
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// A name that is not bound; lower case.
    #[error("undefined variable: {0}")]
    UndefinedVariable(String),
    /// A function other than `max` and `min`.
    #[error("unknown function: {0}")]
    UnknownFunction(String),
    /// `max` or `min` with one argument.
    #[error("{0} function requires exactly 2 arguments, got 1")]
    ArgumentCount(&'static str),
    /// Quantity times quantity.
    #[error("multiplication of two quantities")]
    QuantityProduct,
    /// The divisor is a quantity.
    #[error("division by quantity")]
    QuantityDivisor,
    /// The divisor is the number 0.
    #[error("division by zero")]
    ZeroDivisor,
    /// A number that no quantity can hold, for example the infinity that `1e999` is.
    #[error("calculation result is out of range")]
    OutOfRange,
    /// The result is below zero; its text.
    #[error("calculation result is negative: {0}")]
    Negative(String),
}

/// A compiled expression. An expression with errors compiles too; they are reported by evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    steps: Vec<Step>,
    /// What ended parsing early.
    broken: Option<ExprError>,
    malformed_numbers: Vec<String>,
    uses_variable: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Push(Value),
    /// The variable with that index.
    Load(usize),
    Negate,
    Binary(Operator),
    /// Takes that many operands and leaves none: the error poisons everything computed from it.
    Fail {
        operands: usize,
        error: ExprError,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Max,
    Min,
}

impl Expression {
    /// Compiles `text`; `variables` are the names that it may use, in lower case.
    ///
    /// Rule: I-RES-17, I-RES-25, I-RES-33, A-EXPR-5, A-EXPR-6.
    #[must_use]
    pub fn compile(text: &str, variables: &[&str]) -> Self {
        Parser::new(text, variables).compile()
    }

    /// The number literals that are none, and count as 0: `200MB`, `1e`.
    ///
    /// Rule: I-DEF-17.
    #[must_use]
    pub fn malformed_numbers(&self) -> &[String] {
        &self.malformed_numbers
    }

    /// Whether the result may depend on a variable.
    #[must_use]
    pub fn uses_variable(&self) -> bool {
        self.uses_variable
    }

    /// Computes the final result: not negative, as a quantity; a number counts in base units (cores, bytes).
    ///
    /// # Errors
    ///
    /// [`ExprError`]; of several the one recorded last, a syntax error only if there is no other.
    ///
    /// Rule: I-RES-32, I-RES-34, A-EXPR-13.
    pub fn quantity(&self, values: &[Value]) -> Result<Quantity, ExprError> {
        let value = self.evaluate(values)?;
        let negative = match value {
            Value::Number(number) => number < 0.0,
            Value::Quantity(quantity) => quantity.is_negative(),
        };
        if negative {
            return Err(ExprError::Negative(value.to_string()));
        }
        value.to_quantity()
    }

    /// Computes the value; `values` belong to the names that were given to [`Expression::compile`].
    ///
    /// # Errors
    ///
    /// [`ExprError`]; of several the one recorded last, a syntax error only if there is no other.
    ///
    /// Rule: I-RES-33, A-EXPR-14.
    pub fn evaluate(&self, values: &[Value]) -> Result<Value, ExprError> {
        let mut stack: Vec<Option<Value>> = Vec::with_capacity(8);
        let mut last_error = None;
        for step in &self.steps {
            let result = match step {
                Step::Push(value) => Some(*value),
                Step::Load(index) => values.get(*index).copied(),
                Step::Negate => stack.pop().flatten().map(Value::negated),
                Step::Binary(operator) => {
                    let right = stack.pop().flatten();
                    let left = stack.pop().flatten();
                    left.zip(right).and_then(|(left, right)| {
                        operator.apply(left, right).map_err(|error| last_error = Some(error)).ok()
                    })
                }
                Step::Fail { operands, error } => {
                    stack.truncate(stack.len().saturating_sub(*operands));
                    last_error = Some(error.clone());
                    None
                }
            };
            stack.push(result);
        }
        match last_error.or_else(|| self.broken.clone()) {
            Some(error) => Err(error),
            None => stack.pop().flatten().ok_or(ExprError::OutOfRange),
        }
    }
}

impl Value {
    /// Rule: A-EXPR-11.
    fn negated(self) -> Self {
        match self {
            Self::Number(number) => Self::Number(-number),
            Self::Quantity(quantity) => Self::Quantity(-quantity),
        }
    }

    /// Rule: I-RES-27, I-RES-34, A-EXPR-7.
    fn to_quantity(self) -> Result<Quantity, ExprError> {
        match self {
            Self::Number(number) => Ok(Quantity::from_milli(truncated(number * 1000.0)?)),
            Self::Quantity(quantity) => Ok(quantity),
        }
    }
}

/// As upstream shows a negative result.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) if number.abs() < 1e21 => write!(f, "{number}"),
            Self::Number(number) => write!(f, "{number:e}"),
            Self::Quantity(quantity) => quantity.fmt(f),
        }
    }
}

impl Operator {
    /// Rule: A-EXPR-8, A-EXPR-9, A-EXPR-10, A-EXPR-12.
    fn apply(self, left: Value, right: Value) -> Result<Value, ExprError> {
        if let (Value::Number(left), Value::Number(right)) = (left, right) {
            return self.apply_to_numbers(left, right).map(Value::Number);
        }
        match self {
            Self::Add => Ok(Value::Quantity(left.to_quantity()? + right.to_quantity()?)),
            Self::Subtract => Ok(Value::Quantity(left.to_quantity()? - right.to_quantity()?)),
            Self::Multiply => match (left, right) {
                (Value::Quantity(quantity), Value::Number(number))
                | (Value::Number(number), Value::Quantity(quantity)) => {
                    scaled(quantity, |milli| milli * number)
                }
                _ => Err(ExprError::QuantityProduct),
            },
            Self::Divide => match (left, right) {
                (_, Value::Quantity(_)) => Err(ExprError::QuantityDivisor),
                (_, Value::Number(0.0)) => Err(ExprError::ZeroDivisor),
                (left, Value::Number(number)) => scaled(left.to_quantity()?, |milli| milli / number),
            },
            Self::Max | Self::Min => {
                let (left, right) = (left.to_quantity()?, right.to_quantity()?);
                let right_wins = if self == Self::Max { right > left } else { right < left };
                Ok(Value::Quantity(if right_wins { right } else { left }))
            }
        }
    }

    fn apply_to_numbers(self, left: f64, right: f64) -> Result<f64, ExprError> {
        Ok(match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide if right == 0.0 => return Err(ExprError::ZeroDivisor),
            Self::Divide => left / right,
            Self::Max => left.max(right),
            Self::Min => left.min(right),
        })
    }
}

/// A quantity after an operation on its thousandths, in its own format.
///
/// Rule: I-RES-28, I-RES-29.
fn scaled(quantity: Quantity, operation: impl Fn(f64) -> f64) -> Result<Value, ExprError> {
    let milli = truncated(operation(quantity.milli_rounded_up() as f64))?;
    Ok(Value::Quantity(Quantity::from_milli(milli).with_format(quantity.format())))
}

/// The integer part; not a number counts as 0.
///
/// Rule: I-RES-35.
fn truncated(number: f64) -> Result<i128, ExprError> {
    let integer = number as i128;
    if integer == i128::MAX || integer == i128::MIN { Err(ExprError::OutOfRange) } else { Ok(integer) }
}

#[cfg(test)]
mod tests;
