//! From text to steps.

use super::lexer::{Lexer, Token};
use super::{ExprError, Expression, MAX_DEPTH, Operator, Step, Value};
use crate::api::quantity::Quantity;

/// Recursive descent over the grammar of section 11.6 of the specification; writes a step where upstream computes.
pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    variables: &'a [&'a str],
    depth: usize,
    steps: Vec<Step>,
    malformed_numbers: Vec<String>,
    uses_variable: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, variables: &'a [&'a str]) -> Self {
        let mut lexer = Lexer::new(text);
        let token = lexer.next_token();
        Self {
            lexer,
            token,
            variables,
            depth: 0,
            steps: Vec::new(),
            malformed_numbers: Vec::new(),
            uses_variable: false,
        }
    }

    pub(super) fn compile(mut self) -> Expression {
        let broken = self.whole().err();
        let Self { steps, malformed_numbers, uses_variable, .. } = self;
        Expression { steps, broken, malformed_numbers, uses_variable }
    }

    fn advance(&mut self) {
        self.token = self.lexer.next_token();
    }

    /// Skips a token if it is next.
    fn skip(&mut self, token: u8) -> bool {
        let found = self.token == Token::Symbol(token);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, token: u8) -> Result<(), ExprError> {
        if self.skip(token) { Ok(()) } else { Err(self.syntax_error()) }
    }

    fn syntax_error(&self) -> ExprError {
        let (line, column) = self.lexer.position();
        ExprError::Syntax { line, column }
    }

    fn whole(&mut self) -> Result<(), ExprError> {
        self.sum()?;
        if self.token == Token::End { Ok(()) } else { Err(self.syntax_error()) }
    }

    fn sum(&mut self) -> Result<(), ExprError> {
        self.product()?;
        loop {
            let operator = match self.token {
                Token::Symbol(b'+') => Operator::Add,
                Token::Symbol(b'-') => Operator::Subtract,
                _ => return Ok(()),
            };
            self.advance();
            self.product()?;
            self.steps.push(Step::Binary(operator));
        }
    }

    fn product(&mut self) -> Result<(), ExprError> {
        self.factor()?;
        loop {
            let operator = match self.token {
                Token::Symbol(b'*') => Operator::Multiply,
                Token::Symbol(b'/') => Operator::Divide,
                _ => return Ok(()),
            };
            self.advance();
            self.factor()?;
            self.steps.push(Step::Binary(operator));
        }
    }

    /// Rule: I-RES-23: a quantity that cannot be read is an error.
    fn factor(&mut self) -> Result<(), ExprError> {
        if self.depth >= MAX_DEPTH {
            return Err(ExprError::TooDeep);
        }
        self.depth += 1;
        match self.token {
            Token::Number(text) => {
                self.advance();
                let number = self.number(text);
                self.steps.push(Step::Push(Value::Number(number)));
            }
            Token::Quantity(text) => {
                self.advance();
                self.steps.push(match Quantity::parse(text) {
                    Ok(quantity) => Step::Push(Value::Quantity(quantity)),
                    Err(error) => Step::Fail { operands: 0, error: error.into() },
                });
            }
            Token::Identifier(name) => {
                self.advance();
                if self.skip(b'(') { self.call(name)? } else { self.variable(name) }
            }
            Token::Symbol(b'(') => {
                self.advance();
                self.sum()?;
                self.expect(b')')?;
            }
            Token::Symbol(b'-') => {
                self.advance();
                self.factor()?;
                self.steps.push(Step::Negate);
            }
            Token::Symbol(_) | Token::End | Token::Other => return Err(self.syntax_error()),
        }
        self.depth -= 1;
        Ok(())
    }

    /// Value of a number literal; 0 if it is none.
    ///
    /// Rule: I-RES-22, A-EXPR-3.
    fn number(&mut self, token: &[u8]) -> f64 {
        let text = String::from_utf8_lossy(token);
        let value = match text.strip_suffix('%') {
            Some(percent) => {
                percent.parse().ok().filter(|value: &f64| value.is_finite()).map(|value| value / 100.0)
            }
            None => text.parse().ok(),
        };
        value.unwrap_or_else(|| {
            self.malformed_numbers.push(text.into_owned());
            0.0
        })
    }

    fn variable(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let step = match self.variables.iter().position(|variable| *variable == name) {
            Some(index) => {
                self.uses_variable = true;
                Step::Load(index)
            }
            None => Step::Fail { operands: 0, error: ExprError::UndefinedVariable(name) },
        };
        self.steps.push(step);
    }

    /// The rest of a call behind its opening parenthesis.
    ///
    /// Rule: I-RES-30, I-RES-31.
    fn call(&mut self, name: &[u8]) -> Result<(), ExprError> {
        self.sum()?;
        let two = self.skip(b',');
        if two {
            self.sum()?;
        }
        self.expect(b')')?;
        let operands = if two { 2 } else { 1 };
        let known = if name.eq_ignore_ascii_case(b"max") {
            Some((Operator::Max, "max"))
        } else if name.eq_ignore_ascii_case(b"min") {
            Some((Operator::Min, "min"))
        } else {
            None
        };
        self.steps.push(match known {
            Some((operator, _)) if two => Step::Binary(operator),
            Some((_, name)) => Step::Fail { operands, error: ExprError::ArgumentCount(name) },
            None => {
                let name = String::from_utf8_lossy(name).into_owned();
                Step::Fail { operands, error: ExprError::UnknownFunction(name) }
            }
        });
        Ok(())
    }
}
