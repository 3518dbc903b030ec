//! A reader that walks over JSON text once and borrows from it.
//!
//! It checks the syntax of all it passes, also of what it skips, and nests [`MAX_DEPTH`] deep. Skipping is most of the work, so
//! that part is a loop of its own (`scan`).

use std::borrow::Cow;
use std::fmt;

use super::Str;
use super::scan::{Broken, Why, literal_end, past_space, string_end, value_end};

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: u32 = 128;

/// Why a text cannot be read: what was wrong, where, and in which member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// What was found and what was expected.
    pub detail: String,
    /// Path of the member, such as `spec.containers[0].name`; empty for the text itself.
    pub path: String,
    /// Position in the text, in bytes.
    pub offset: usize,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{} at byte {}", self.detail, self.offset)
    }
}

impl std::error::Error for JsonError {}

impl JsonError {
    /// Puts the name of the enclosing member in front of the path.
    #[must_use]
    pub fn within(mut self, member: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{member}{dot}{}", self.path);
        self
    }
}

/// A type that can be read from JSON text, `null` excepted: an `Option` reads that.
pub trait Read<'a>: Sized {
    /// Reads one value at the cursor.
    ///
    /// # Errors
    ///
    /// Broken syntax, or a value of another type.
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, JsonError>;
}

/// A position in a JSON text.
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    position: usize,
    depth: u32,
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of a text.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text, position: 0, depth: 0 }
    }

    /// Reads the one value of a text.
    ///
    /// # Errors
    ///
    /// Broken syntax, a value of another type, or text after the value.
    pub fn read_all<T: Read<'a>>(text: &'a str) -> Result<T, JsonError> {
        let mut cursor = Self::new(text);
        let value = T::read(&mut cursor)?;
        match cursor.peek() {
            None => Ok(value),
            Some(_) => Err(cursor.error("text after the end of the JSON value")),
        }
    }

    /// The next byte that is no white space, without passing it.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        self.position = past_space(self.text.as_bytes(), self.position);
        self.text.as_bytes().get(self.position).copied()
    }

    /// An error at the present position.
    #[must_use]
    pub fn error(&self, detail: impl Into<String>) -> JsonError {
        JsonError { detail: detail.into(), path: String::new(), offset: self.position }
    }

    #[cold]
    fn unexpected(&mut self, expected: &str) -> JsonError {
        let found = match self.peek() {
            None => "the end of the text",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            Some(b'-' | b'0'..=b'9') => "a number",
            Some(byte) => {
                return self
                    .error(format!("unexpected character `{}`, expected {expected}", char::from(byte)));
            }
        };
        self.error(format!("found {found}, expected {expected}"))
    }

    #[inline]
    fn expect(&mut self, byte: u8, expected: &str) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected(expected));
        }
        self.position += 1;
        Ok(())
    }

    /// Passes `byte` if it is next.
    #[inline]
    fn passes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.position += usize::from(is_next);
        is_next
    }

    /// Reads a value, or `null` as `None`.
    ///
    /// # Errors
    ///
    /// As [`Read::read`].
    #[inline]
    pub fn optional<T: Read<'a>>(&mut self) -> Result<Option<T>, JsonError> {
        if self.peek() == Some(b'n') {
            self.literal(b"null")?;
            return Ok(None);
        }
        T::read(self).map(Some)
    }

    /// Reads an object: calls `member` with each key, at the value.
    ///
    /// # Errors
    ///
    /// Broken syntax, or what `member` returns.
    pub fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Str<'a>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.expect(b'{', "an object")?;
        self.descend()?;
        if !self.passes(b'}') {
            loop {
                let key = self.string("a member name")?;
                self.expect(b':', "`:`")?;
                member(self, key)?;
                if self.passes(b',') {
                    continue;
                }
                self.expect(b'}', "`,` or `}`")?;
                break;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads an array: calls `item` at each value.
    ///
    /// # Errors
    ///
    /// Broken syntax, or what `item` returns; the path tells the position in the array.
    pub fn array(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.expect(b'[', "an array")?;
        self.descend()?;
        if !self.passes(b']') {
            for index in 0_usize.. {
                item(self).map_err(|error| error.within(&format!("[{index}]")))?;
                if self.passes(b',') {
                    continue;
                }
                self.expect(b']', "`,` or `]`")?;
                break;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn descend(&mut self) -> Result<(), JsonError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.too_deep()) } else { Ok(()) }
    }

    #[cold]
    fn too_deep(&self) -> JsonError {
        self.error(format!("arrays and objects nest deeper than {MAX_DEPTH}"))
    }

    /// Reads a string.
    ///
    /// # Errors
    ///
    /// Broken syntax, or another type than `expected`.
    #[inline]
    pub fn string(&mut self, expected: &str) -> Result<Str<'a>, JsonError> {
        self.expect(b'"', expected)?;
        let start = self.position;
        let has_escapes = self.pass_string()?;
        if has_escapes {
            let quoted = self.text.get(start - 1..self.position).unwrap_or_default();
            let text = serde_json::from_str::<String>(quoted)
                .map_err(|_| self.error("broken escape in a string"))?;
            return Ok(Str(Cow::Owned(text)));
        }
        Ok(Str(Cow::Borrowed(self.text.get(start..self.position - 1).unwrap_or_default())))
    }

    /// Passes the rest of a string, its closing quote included; tells whether it holds escapes.
    #[inline]
    fn pass_string(&mut self) -> Result<bool, JsonError> {
        let (end, has_escapes) =
            string_end(self.text.as_bytes(), self.position).map_err(|broken| self.broken(broken))?;
        self.position = end;
        Ok(has_escapes)
    }

    #[cold]
    fn broken(&mut self, Broken { at, why }: Broken) -> JsonError {
        self.position = at;
        match why {
            Why::Expected(expected) => self.unexpected(expected),
            Why::Because(detail) => self.error(detail),
            Why::TooDeep => self.too_deep(),
        }
    }

    /// Passes one value of any type; returns its text.
    ///
    /// # Errors
    ///
    /// Broken syntax.
    pub fn skip(&mut self) -> Result<&'a str, JsonError> {
        self.peek();
        let start = self.position;
        let end = value_end(self.text.as_bytes(), start, MAX_DEPTH - self.depth.min(MAX_DEPTH));
        self.position = end.map_err(|broken| self.broken(broken))?;
        Ok(self.text.get(start..self.position).unwrap_or_default())
    }

    /// Reads a value and tells the text that it was read from.
    ///
    /// # Errors
    ///
    /// What `read` returns.
    pub fn with_text<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, JsonError>,
    ) -> Result<(&'a str, T), JsonError> {
        self.peek();
        let start = self.position;
        let value = read(self)?;
        Ok((self.text.get(start..self.position).unwrap_or_default(), value))
    }

    /// Reads a value that may be of another type: then it is passed, and what is wrong with it is returned beside.
    ///
    /// # Errors
    ///
    /// Broken syntax.
    pub fn attempt<T: Read<'a>>(&mut self) -> Result<Result<T, JsonError>, JsonError> {
        let (position, depth) = (self.position, self.depth);
        let read = T::read(self);
        if read.is_err() {
            (self.position, self.depth) = (position, depth);
            self.skip()?;
        }
        Ok(read)
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), JsonError> {
        self.peek();
        self.position =
            literal_end(self.text.as_bytes(), self.position, word).map_err(|broken| self.broken(broken))?;
        Ok(())
    }
}

impl<'a> Read<'a> for Str<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, JsonError> {
        cursor.string("a string")
    }
}

impl<'a> Read<'a> for bool {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, JsonError> {
        match cursor.peek() {
            Some(b't') => cursor.literal(b"true").map(|()| true),
            Some(b'f') => cursor.literal(b"false").map(|()| false),
            _ => Err(cursor.unexpected("a boolean")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skips(text: &str) -> Result<String, JsonError> {
        struct Any(String);
        impl<'a> Read<'a> for Any {
            fn read(cursor: &mut Cursor<'a>) -> Result<Self, JsonError> {
                cursor.skip().map(|text| Self(text.to_owned()))
            }
        }
        Cursor::read_all::<Any>(text).map(|any| any.0)
    }

    #[test]
    fn agrees_with_a_general_parser_on_what_is_json() {
        let cases = [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "12.5e-3",
            "1E5",
            "\"\"",
            "\"a\\u00e9\\n\\\\\"",
            "[]",
            "{}",
            "[1,2,[3]]",
            "{\"a\":{\"b\":[{}]},\"c\":\"}]\"}",
            " { \"a\" : [ 1 , null ] } ",
            "\"grüße — 日本語 longer than eight\"",
            "",
            " ",
            "nul",
            "tru",
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "--1",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{a:1}",
            "[1}",
            "{\"a\":1]",
            "1 2",
            "{} x",
            "\"tab\tinside\"",
            "{\"a\" 1}",
            "[1 2]",
            "]",
            "}",
            ",",
            ":",
            "{\"a\":}",
            "{,}",
            "[,]",
            "-",
            "\"1234567\u{1}\"",
            "\"12345678\u{1f}\"",
            "\u{feff}{}",
        ];
        for text in cases {
            let general = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(skips(text).is_ok(), general, "{text:?}: {:?}", skips(text));
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(skips(&nested(MAX_DEPTH as usize)).is_ok());
        assert!(skips(&nested(MAX_DEPTH as usize + 1)).unwrap_err().detail.contains("deeper"));
        assert!(skips(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn strings_are_borrowed_unless_they_hold_escapes() {
        for (text, expected) in [("\"plain\"", "plain"), ("\"a\\\"b\\u0041\"", "a\"bA"), ("\"\"", "")] {
            let read: Str<'_> = Cursor::read_all(text).unwrap();
            assert_eq!(&*read, expected);
            assert_eq!(matches!(read.0, Cow::Owned(_)), text.contains('\\'));
        }
        assert!(Cursor::read_all::<Str<'_>>("\"\\ud800\"").is_err(), "a lone surrogate is no text");
    }

    #[test]
    fn errors_name_what_was_found() {
        let error = Cursor::read_all::<Str<'_>>(" 5").unwrap_err();
        assert_eq!(error.to_string(), "found a number, expected a string at byte 1");
        assert_eq!(error.within("[0]").within("spec").path, "spec[0]");
    }
}
