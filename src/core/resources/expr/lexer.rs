//! Tokens of an expression, byte by byte as upstream cuts them.

/// Units that make a numeric token a quantity.
const UNITS: [&str; 11] = ["m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"];

/// A token; its text is borrowed from the expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// One of `+ - * / ( ) ,`.
    Symbol(u8),
    /// A numeric token without one of the known units; perhaps no number at all. Bytes, as for names.
    Number(&'a [u8]),
    /// A numeric token with a unit.
    Quantity(&'a str),
    /// A name. Bytes, because a byte that is a letter in Latin-1 counts even within a UTF-8 sequence.
    Identifier(&'a [u8]),
    /// Anything else.
    Other,
    /// The end of the text, or a NUL byte.
    End,
}

/// Cuts an expression into tokens.
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    /// Offset behind the last token.
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0 }
    }

    /// Line and column behind the last token, both from 1.
    pub(super) fn position(&self) -> (usize, usize) {
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        (line, column)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_while(&mut self, accepted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&accepted) {
            self.at += 1;
        }
    }

    fn since(&self, start: usize) -> &'a [u8] {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The next token.
    ///
    /// Rule: I-RES-18, I-RES-19, I-RES-24, A-EXPR-1.
    pub(super) fn next_token(&mut self) -> Token<'a> {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r' | 0x85 | 0xA0));
        let start = self.at;
        let Some(first) = self.peek() else { return Token::End };
        match first {
            0 => return Token::End,
            b'0'..=b'9' | b'.' => return self.numeric(),
            _ if is_letter(first) => {
                self.skip_while(|byte| is_letter(byte) || byte.is_ascii_digit() || byte == b'_');
                return Token::Identifier(self.since(start));
            }
            _ => self.at += 1,
        }
        if b"+-*/(),".contains(&first) { Token::Symbol(first) } else { Token::Other }
    }

    /// A token that starts with a digit or a point.
    ///
    /// Rule: I-RES-20.
    fn numeric(&mut self) -> Token<'a> {
        let start = self.at;
        let (mut point, mut exponent, mut percent) = (false, false, false);
        while let Some(byte) = self.peek() {
            match byte {
                b'0'..=b'9' => {}
                b'.' if !point && !exponent && !percent => point = true,
                b'%' if !percent => percent = true,
                b'e' | b'E' if exponent || percent => break,
                b'e' | b'E' => {
                    exponent = true;
                    match self.text.get(self.at + 1) {
                        Some(b'+' | b'-') => self.at += 1,
                        Some(next) if is_letter(*next) => {
                            self.at += 1;
                            break;
                        }
                        _ => {}
                    }
                }
                _ if is_letter(byte) => {
                    self.skip_while(is_letter);
                    break;
                }
                _ => break,
            }
            self.at += 1;
        }
        classified(self.since(start))
    }
}

/// Rule: I-RES-21, A-EXPR-2.
fn classified(token: &[u8]) -> Token<'_> {
    let Ok(text) = str::from_utf8(token) else { return Token::Number(token) };
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || ".eE+-".contains(c));
    if UNITS.contains(&unit) { Token::Quantity(text) } else { Token::Number(token) }
}

/// Letters as Go's `unicode.IsLetter` sees a byte: ASCII and Latin-1.
fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, 0xAA | 0xB5 | 0xBA | 0xC0..=0xD6 | 0xD8..=0xF6 | 0xF8..=0xFF)
}
