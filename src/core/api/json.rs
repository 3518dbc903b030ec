//! JSON text as upstream's encoder writes it: compact, keys sorted, and characters escaped that other encoders leave.
//!
//! What is hashed or compared as text has to agree with it byte by byte (A-HASH-6, I-META-7). Also here: access to members where
//! `null` counts as absent.

use std::fmt::Write;

use serde_json::{Map, Value};

/// An object as it arrived: its members in their order.
pub type Object = Map<String, Value>;

/// Appends `text` as a JSON string: besides what JSON demands, `<`, `>`, `&`, U+2028 and U+2029 are escaped.
///
/// Rule: A-HASH-6.
pub fn write_text(out: &mut String, text: &str) {
    out.push('"');
    // Nearly all names and hashes.
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/')) {
        out.push_str(text);
        out.push('"');
        return;
    }
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..'\u{20}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// Appends any value, compact and with the keys of every object sorted by their bytes.
pub fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => write_text(out, text),
        Value::Array(list) => write_list(out, list, write_value),
        Value::Object(map) => write_object(out, sorted(map), write_value),
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

/// The members of an object, sorted by the bytes of their names.
#[must_use]
pub fn sorted(map: &Object) -> Vec<(&str, &Value)> {
    let mut members: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), value)).collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members
}

/// Appends a list, each item by `write`.
pub(crate) fn write_list<T>(out: &mut String, items: &[T], mut write: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// Appends an object, each value by `write`.
pub(crate) fn write_object<'a, T: ?Sized + 'a>(
    out: &mut String,
    members: impl IntoIterator<Item = (&'a str, &'a T)>,
    mut write: impl FnMut(&mut String, &T),
) {
    out.push('{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(out, name);
        out.push(':');
        write(out, value);
    }
    out.push('}');
}

/// The object at `name`, `None` if there is none.
pub(crate) fn member<'a>(map: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    map.get_mut(name)?.as_object_mut()
}

/// The object at `name`, made if absent; `None` if something else is there.
pub(crate) fn created<'a>(map: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    set_if_absent(map, name, Object::new());
    member(map, name)
}

/// Writes `value` at `name` if nothing is there.
pub(crate) fn set_if_absent(map: &mut Object, name: &str, value: impl Into<Value>) {
    if map.get(name).is_none_or(Value::is_null) {
        map.insert(name.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: &Value) -> String {
        let mut out = String::new();
        write_value(&mut out, value);
        out
    }

    #[test]
    fn characters_are_escaped_as_upstream_does() {
        let value = json!("a<b && c>d\"\\/\n\r\t\u{8}\u{c}\0\u{1f}\u{7f}\u{2028}\u{2029}é漢😀");
        let expected = r#""a\u003cb \u0026\u0026 c\u003ed\"\\/\n\r\t\b\f\u0000\u001f"#.to_owned()
            + "\u{7f}\\u2028\\u2029é漢😀\"";
        assert_eq!(text(&value), expected);
        assert_eq!(serde_json::from_str::<Value>(&expected).unwrap(), value);
    }

    #[test]
    fn keys_are_sorted_by_their_bytes_at_every_depth() {
        let value = json!({"b": {"z": [1, {"y": null, "Y": -2.5}], "é": true, "a": ""}, "B": {}, "<": []});
        let expected = r#"{"\u003c":[],"B":{},"b":{"a":"","z":[1,{"Y":-2.5,"y":null}],"é":true}}"#;
        assert_eq!(text(&value), expected);
    }
}
