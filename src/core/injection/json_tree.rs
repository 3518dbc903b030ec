//! JSON as a tree of borrowed texts: numbers and strings keep their spelling, members their order, duplicates stay.
//!
//! Annotation values are rewritten byte by byte as Go does it; a tree of decoded values would lose what has to survive.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::api::json::write_text;

/// Deeper nesting is refused; recursion over a tree is bounded by it.
const MAX_DEPTH: usize = 128;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree<'a> {
    /// `null`
    Null,
    /// A number, `true` or `false`, as written.
    Scalar(&'a str),
    /// A string, as written, with its quotation marks.
    String(&'a str),
    /// An array.
    Array(Vec<Tree<'a>>),
    /// An object as written: members in their order, names with their quotation marks.
    Members(Vec<(&'a str, Tree<'a>)>),
    /// An object that was taken apart: names decoded and sorted, of duplicates the last.
    Sorted(BTreeMap<Cow<'a, str>, Tree<'a>>),
}

impl<'a> Tree<'a> {
    /// Reads a text that is one JSON value; `None` if it is no JSON or nested deeper than 128 levels.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let tree = parser.value()?;
        parser.skip_blanks();
        (parser.at == text.len()).then_some(tree)
    }

    /// Appends the value as compact JSON.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Scalar(text) => out.push_str(text),
            Self::String(text) => write_raw_string(out, text),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    separate(out, index);
                    item.write(out);
                }
                out.push(']');
            }
            Self::Members(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    separate(out, index);
                    write_raw_string(out, name);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Self::Sorted(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    separate(out, index);
                    write_text(out, name);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// What kind of value it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Scalar("true" | "false") => "a boolean",
            Self::Scalar(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Members(_) | Self::Sorted(_) => "an object",
        }
    }
}

/// Appends a comma before every item but the first.
pub(super) fn separate(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}

/// Appends a string that is written already, quotation marks included, keeping its spelling.
///
/// Rule: I-META-7.
fn write_raw_string(out: &mut String, raw: &str) {
    raw.chars().for_each(|c| write_safe(out, c));
}

/// Go escapes what could end a script element or a line of JavaScript.
fn write_safe(out: &mut String, c: char) {
    match c {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write_escape(out, c),
        _ => out.push(c),
    }
}

fn write_escape(out: &mut String, c: char) {
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        out.extend(char::from_digit((u32::from(c) >> shift) & 0xf, 16));
    }
}

/// The characters of a string that is written with its quotation marks. Half a surrogate pair becomes U+FFFD, as in Go.
pub(super) fn decode(raw: &str) -> Cow<'_, str> {
    let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw);
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut units = Vec::new();
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        let escaped = if c == '\\' { rest.next() } else { None };
        if escaped == Some('u') {
            let digits = rest.as_str().get(..4).unwrap_or_default();
            units.push(u16::from_str_radix(digits, 16).unwrap_or_default());
            rest = rest.as_str().get(4..).unwrap_or_default().chars();
            continue;
        }
        flush(&mut out, &mut units);
        out.push(match escaped {
            None => c,
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some(same) => same,
        });
    }
    flush(&mut out, &mut units);
    Cow::Owned(out)
}

fn flush(out: &mut String, units: &mut Vec<u16>) {
    let decoded = char::decode_utf16(units.drain(..));
    out.extend(decoded.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips a byte if it is next.
    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Skips digits; `None` if there is not one.
    fn skip_digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn since(&self, start: usize) -> Option<&'a str> {
        self.text.get(start..self.at)
    }

    fn value(&mut self) -> Option<Tree<'a>> {
        self.skip_blanks();
        match self.peek()? {
            b'{' => self.nested(Self::members),
            b'[' => self.nested(Self::array),
            b'"' => self.string().map(Tree::String),
            b'-' | b'0'..=b'9' => self.number().map(Tree::Scalar),
            _ => self.word(),
        }
    }

    fn nested(&mut self, inner: impl Fn(&mut Self) -> Option<Tree<'a>>) -> Option<Tree<'a>> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        self.at += 1;
        self.skip_blanks();
        let tree = inner(self)?;
        self.depth -= 1;
        Some(tree)
    }

    fn array(&mut self) -> Option<Tree<'a>> {
        let mut items = Vec::new();
        if self.skip(b']') {
            return Some(Tree::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.skip_blanks();
            if self.skip(b']') {
                return Some(Tree::Array(items));
            }
            self.skip(b',').then_some(())?;
        }
    }

    fn members(&mut self) -> Option<Tree<'a>> {
        let mut members = Vec::new();
        if self.skip(b'}') {
            return Some(Tree::Members(members));
        }
        loop {
            self.skip_blanks();
            let name = self.string()?;
            self.skip_blanks();
            self.skip(b':').then_some(())?;
            members.push((name, self.value()?));
            self.skip_blanks();
            if self.skip(b'}') {
                return Some(Tree::Members(members));
            }
            self.skip(b',').then_some(())?;
        }
    }

    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.skip(b'"').then_some(())?;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return self.since(start),
                b'\\' => self.escape()?,
                0..=0x1f => return None,
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.skip(b'-');
        if !self.skip(b'0') {
            self.skip_digits()?;
        }
        if self.skip(b'.') {
            self.skip_digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            if !self.skip(b'+') {
                self.skip(b'-');
            }
            self.skip_digits()?;
        }
        self.since(start)
    }

    fn word(&mut self) -> Option<Tree<'a>> {
        let rest = self.text.get(self.at..)?;
        let word = ["null", "true", "false"].into_iter().find(|word| rest.starts_with(word))?;
        self.at += word.len();
        Some(if word == "null" { Tree::Null } else { Tree::Scalar(word) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str) -> Option<String> {
        let mut out = String::new();
        Tree::parse(text)?.write(&mut out);
        Some(out)
    }

    #[test]
    fn i_meta_7_compacts_and_keeps_the_spelling() {
        for (text, compact) in [
            (
                " { \"b\" : [ 1.50 , 1e3,-0 ,1E+400,0.10] ,\"a\":{ }, \"b\":[ ]}\r\n\t",
                r#"{"b":[1.50,1e3,-0,1E+400,0.10],"a":{},"b":[]}"#,
            ),
            (r#""\u00e9é\/\ud800""#, r#""\u00e9é\/\ud800""#),
            ("{\"<\":\">&\u{2028}\u{2029}\"}", r#"{"\u003c":"\u003e\u0026\u2028\u2029"}"#),
            ("\u{7f}\"", ""),
            ("\"\u{7f}\"", "\"\u{7f}\""),
            ("null", "null"),
            ("[true,false,null]", "[true,false,null]"),
        ] {
            assert_eq!(rewritten(text).unwrap_or_default(), compact, "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "",
            " ",
            "x",
            "nul",
            "nullx",
            "{",
            "[",
            "[1",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "+1",
            "\"",
            "\"\t\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "1 2",
            "{} x",
            "\u{feff}1",
            "NaN",
        ] {
            assert_eq!(Tree::parse(text), None, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(rewritten(&nested(128)), Some(nested(128)));
        assert_eq!(rewritten(&nested(129)), None);
        assert_eq!(rewritten(&"[".repeat(1_000_000)), None);
        assert_eq!(rewritten(&"{\"a\":".repeat(1_000_000)), None);
        let wide = format!("[{}[]]", "[],".repeat(1000));
        assert_eq!(rewritten(&wide), Some(wide));
    }

    #[test]
    fn a_hash_6_strings_are_decoded_and_encoded_as_go_does() {
        for (raw, decoded, encoded) in [
            (r#""plain""#, "plain", r#""plain""#),
            (r#""\u0041\/\"\\""#, "A/\"\\", r#""A/\"\\""#),
            (r#""\b\f\n\r\t\u0001\u001F""#, "\u{8}\u{c}\n\r\t\u{1}\u{1f}", r#""\b\f\n\r\t\u0001\u001f""#),
            (r#""\ud83d\ude00é""#, "😀é", r#""😀é""#),
            (r#""\ud83d\ud83d\ude00x\ude00""#, "\u{fffd}😀x\u{fffd}", "\"\u{fffd}😀x\u{fffd}\""),
            (r#""\u2028<>&""#, "\u{2028}<>&", r#""\u2028\u003c\u003e\u0026""#),
        ] {
            assert_eq!(decode(raw), decoded, "{raw}");
            let mut out = String::new();
            write_text(&mut out, &decode(raw));
            assert_eq!(out, encoded, "{raw}");
        }
    }
}
