//! Reading JSON without copying it, and writing it without a tree.

mod cursor;
mod scan;

use std::borrow::Cow;
use std::ops::Deref;

pub use cursor::{Cursor, JsonError, MAX_DEPTH, Read};

/// A JSON string, borrowed from the text unless it holds escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Str<'a>(pub Cow<'a, str>);

impl Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A JSON object of strings, as labels and annotations are. A `null` value reads as the empty string, of a key that stands
/// several times the last value counts: both as the API server reads it.
#[derive(Debug, Clone, Default)]
pub struct StrMap<'a> {
    entries: Vec<(Str<'a>, Str<'a>)>,
}

/// Above this many entries a map is sorted once, so that look-ups stay cheap for maps of any size.
const LINEAR_LIMIT: usize = 24;

impl<'a> StrMap<'a> {
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        if self.entries.len() <= LINEAR_LIMIT {
            return self.entries.iter().rev().find(|(k, _)| &**k == key).map(|(_, value)| &**value);
        }
        let index = self.entries.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        self.entries.get(index).map(|(_, value)| &**value)
    }

    /// All entries; of a repeated key all are seen in a small map.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Makes a map from pairs.
    #[must_use]
    pub fn from_pairs(pairs: Vec<(Str<'a>, Str<'a>)>) -> Self {
        let mut entries = pairs;
        if entries.len() > LINEAR_LIMIT {
            // Stable, so that the last of equal keys stays last and survives.
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            entries.reverse();
            entries.dedup_by(|(a, _), (b, _)| a == b);
            entries.reverse();
        }
        Self { entries }
    }
}

impl<'a> Read<'a> for StrMap<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, JsonError> {
        let mut pairs = Vec::with_capacity(8);
        cursor.object(|cursor, key| {
            let value = cursor.optional::<Str<'a>>().map_err(|error| error.within(&key))?;
            pairs.push((key, value.unwrap_or_default()));
            Ok(())
        })?;
        Ok(Self::from_pairs(pairs))
    }
}

/// A JSON array of which `null` items read as the default, as the API server reads them.
#[derive(Debug, Clone, Default)]
pub struct List<T>(pub Vec<T>);

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T: Read<'a> + Default> Read<'a> for List<T> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, JsonError> {
        let mut list = Vec::with_capacity(4);
        cursor.array(|cursor| {
            list.push(cursor.optional()?.unwrap_or_default());
            Ok(())
        })?;
        Ok(Self(list))
    }
}

/// A value with the text that it was read from.
#[derive(Debug, Clone)]
pub struct WithText<'a, T> {
    /// The text as it arrived.
    pub text: &'a str,
    /// What was read of it.
    pub value: T,
}

/// What a `null` item of a list reads as.
impl<T: Default> Default for WithText<'_, T> {
    fn default() -> Self {
        Self { text: "null", value: T::default() }
    }
}

impl<'a, T: Read<'a> + Default> Read<'a> for WithText<'a, T> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, JsonError> {
        cursor.with_text(|cursor| T::read(cursor)).map(|(text, value)| Self { text, value })
    }
}

/// The text of a value that nobody has looked into yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Raw<'a>(pub &'a str);

impl<'a> Read<'a> for Raw<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, JsonError> {
        cursor.skip().map(Self)
    }
}

/// Declares a view of a JSON object: named members are read, all others are passed over, absent and `null` ones are `None`, of
/// a member that stands several times the last counts.
#[macro_export]
macro_rules! object_view {
    ($(#[$meta:meta])* $vis:vis struct $name:ident<'a> {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty = $key:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default)]
        $vis struct $name<'a> {
            $($(#[$field_meta])* $field_vis $field: Option<$type>,)*
            borrowed: std::marker::PhantomData<&'a ()>,
        }

        impl<'a> $crate::json::Read<'a> for $name<'a> {
            fn read(cursor: &mut $crate::json::Cursor<'a>) -> Result<Self, $crate::json::JsonError> {
                let mut view = Self::default();
                cursor.object(|cursor, key| {
                    match &*key {
                        $($key => view.$field = cursor.optional().map_err(|error| error.within($key))?,)*
                        _ => { cursor.skip().map_err(|error| error.within(&key))?; }
                    }
                    Ok(())
                })?;
                Ok(view)
            }
        }
    };
}
pub use object_view;

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// Appends `text` as the inside of a JSON string.
pub fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    loop {
        // What is found there is ASCII, so both ends are character boundaries.
        let (plain, special) = rest.split_at(scan::plain_end(rest.as_bytes(), 0));
        out.push_str(plain);
        let Some(byte) = special.bytes().next() else { return };
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => {
                out.push_str("\\u00");
                out.push(char::from(b'0' + (control >> 4)));
                out.push(char::from(b"0123456789abcdef"[usize::from(control & 15)]));
            }
        }
        rest = special.get(1..).unwrap_or_default();
    }
}

/// Appends one token of a JSON Pointer (RFC 6901), escaped for the pointer and for the JSON string it stands in.
pub fn push_pointer_token(out: &mut String, token: &str) {
    for part in token.split_inclusive(['~', '/']) {
        match part.strip_suffix(['~', '/']) {
            Some(start) => {
                push_escaped(out, start);
                out.push_str(if part.ends_with('~') { "~0" } else { "~1" });
            }
            None => push_escaped(out, part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_written_as_a_parser_reads_them() {
        let text = "plain \"quoted\" back\\slash \n\t\r \u{1} \u{1f} grüße \u{2028}";
        let mut out = String::new();
        push_string(&mut out, text);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }

    #[test]
    fn pointer_tokens_are_escaped() {
        let mut out = String::new();
        push_pointer_token(&mut out, "kruise.io/a~b\"");
        assert_eq!(out, "kruise.io~1a~0b\\\"");
    }

    #[test]
    fn maps_of_any_size_give_the_last_value_of_a_key() {
        for size in [1, LINEAR_LIMIT, LINEAR_LIMIT + 1, 500] {
            let mut text = String::from("{");
            for index in 0..size {
                text.push_str(&format!("\"k{index}\":\"first\",\"k{index}\":\"v{index}\","));
            }
            text.push_str("\"none\":null}");
            let map: StrMap<'_> = Cursor::read_all(&text).unwrap();
            for index in 0..size {
                assert_eq!(map.get(&format!("k{index}")), Some(&*format!("v{index}")));
            }
            assert_eq!(map.get("none"), Some(""));
            assert_eq!(map.get("absent"), None);
        }
    }
}
