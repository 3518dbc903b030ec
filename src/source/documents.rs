//! YAML and JSON text as documents, read the way `kubectl` users expect.

use std::io::Cursor;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentError {
    /// Its number in the text, from 1; empty documents do not count.
    pub document: usize,
    /// Line and column, both from 1, if known.
    pub position: Option<(u64, u64)>,
    /// For people: line, column and what is wrong there.
    pub detail: String,
}

/// Reads every document of `text`, each as it stands or as the error that hides it. JSON is read as the YAML that it is.
///
/// Scalars mean what they mean to `kubectl` (YAML 1.1): `yes` and `on` are booleans, `0644` is octal; quoted text is text.
/// A key that stands twice is an error, anchors and merge keys work, and what aliases expand to is bounded.
pub fn parse(text: &str) -> Vec<Result<Value, DocumentError>> {
    parse_as(text)
}

/// As [`parse`], into another type.
pub(super) fn parse_as<T: DeserializeOwned>(text: &str) -> Vec<Result<T, DocumentError>> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            // One file may hold 10,000 sets of some hundred nodes. Aliases keep their own, much tighter, limit.
            max_events: 20_000_000,
            max_nodes: 10_000_000,
            max_documents: 1_000_000,
            max_depth: 128,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
    };
    let mut reader = Cursor::new(text.as_bytes());
    serde_saphyr::read_with_options::<_, T>(&mut reader, options)
        .enumerate()
        .map(|(index, document)| {
            document.map_err(|error| DocumentError {
                document: index + 1,
                position: error.location().map(|location| (location.line(), location.column())),
                detail: describe(&error),
            })
        })
        .collect()
}

fn describe(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error::DuplicateMappingKey;
    match error {
        DuplicateMappingKey { key, location } => format!(
            "the key {:?} stands twice in one mapping, again at line {}, column {}; remove one of the two",
            key.as_deref().unwrap_or("?"),
            location.line(),
            location.column()
        ),
        other => format!("not readable as YAML or JSON: {other}"),
    }
}

/// `kind` of a document, with its `apiVersion`, for texts to people.
#[must_use]
pub fn kind_of(document: &Value) -> (&str, &str) {
    let text = |member: &str| document.get(member).and_then(Value::as_str).unwrap_or_default();
    (text("apiVersion"), text("kind"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Value> {
        parse(text).into_iter().map(|d| d.expect("readable")).collect()
    }

    #[test]
    fn scalars_mean_what_they_mean_to_kubectl() {
        let text = "{a: on, b: yes, c: 0644, d: 0o17, e: \"on\", f: '0644', g: null, h: ~, i: 1.5, j: 12:30}";
        let expected = json!({"a": true, "b": true, "c": 420, "d": 15, "e": "on", "f": "0644", "g": null, "h": null,
            "i": 1.5, "j": "12:30"});
        assert_eq!(values(text), [expected]);
    }

    #[test]
    fn empty_documents_do_not_count() {
        assert_eq!(values("---\n# nothing\n---\na: 1\n---\n---\nb: 2\n"), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(values(""), Vec::<Value>::new());
    }

    #[test]
    fn json_is_read_too() {
        let long = "x".repeat(5000);
        let text = format!(
            "{{\n\t\"a\": \"\\ud83d\\ude00\\/\",\n\t\"b\": [{long:?}, {{\"{long}\": true}}], \"c\": 1e3}}"
        );
        let found = parse(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(values("{\"a\": \"\\ud83d\\ude00\\/\"}"), [json!({"a": "\u{1f600}/"})]);
        assert_eq!(values(&format!("[{long:?}, 1]")), [json!([long, 1])]);
    }

    #[test]
    fn errors_name_document_and_place() {
        let found = parse("a: 1\n---\nb: 1\nb: 2\n---\nc: [\n");
        assert_eq!(found.first(), Some(&Ok(json!({"a": 1}))));
        let errors: Vec<_> = found.into_iter().filter_map(Result::err).collect();
        assert_eq!(errors.first().map(|e| e.document), Some(2));
        assert!(
            errors
                .first()
                .is_some_and(|e| e.detail.contains("\"b\" stands twice") && e.detail.contains("line 4"))
        );
        assert!(errors.last().is_some_and(|e| e.document == 3 && e.detail.contains("line 6")), "{errors:?}");
    }

    #[test]
    fn aliases_cannot_blow_up() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..9 {
            let previous = format!("*a{},", n - 1).repeat(10);
            text.push_str(&format!("a{n}: &a{n} [{previous}]\n"));
        }
        assert!(parse(&text).iter().any(Result::is_err));
    }
}
