//! Environment that a sidecar takes over from app containers: `transferEnv`, and variables of shared `subPathExpr`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::content::text;
use crate::injection::Taken;
use crate::injection::annotations::Annotations;
use crate::injection::build::Earlier;
use crate::json::{JsonError, WithText};
use crate::pod::PodLook;

/// One entry of `transferEnv`. Rule: I-ENV-6.
#[derive(Debug)]
pub struct TransferEnv {
    /// Names to take over, sorted, unique.
    names: Vec<Box<str>>,
    source: Source,
}

/// Where the name of the source container comes from. Rule: I-ENV-7.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Container(Box<str>),
    Label(Box<str>),
    Annotation(Box<str>),
    /// A `fieldPath` that names nothing (I-ENV-8): the entry is passed over.
    Nothing,
}

impl TransferEnv {
    /// Compiles the JSON form.
    pub(crate) fn compile(entry: &Value) -> Self {
        let single = Some(text(&entry["envName"])).filter(|name| !name.is_empty());
        let listed = entry["envNames"].as_array().into_iter().flatten().map(text);
        let mut names: Vec<Box<str>> = single.into_iter().chain(listed).map(Into::into).collect();
        names.sort_unstable();
        names.dedup();
        let field_ref = &entry["sourceContainerNameFrom"]["fieldRef"];
        let source = if field_ref.is_object() {
            Source::from_field_path(text(&field_ref["fieldPath"]))
        } else {
            Source::Container(text(&entry["sourceContainerName"]).into())
        };
        Self { names, source }
    }

    /// The env entries that this one takes over from the Pod, by name. Of several entries of one name the last counts, also
    /// over several containers of one name. Containers that were injected earlier are sources too (I-ENV-10), of the entries
    /// that `takes_from_earlier` says yes to.
    ///
    /// # Errors
    ///
    /// An env list of the Pod that cannot be read (I-CALL-11).
    ///
    /// Rules: I-ENV-9, I-ENV-10.
    pub(crate) fn take<'a>(
        &self,
        pod: &'a PodLook<'a>,
        annotations: &Annotations<'_>,
        earlier: &Earlier<'_>,
        takes_from_earlier: impl Fn(&Taken<'a>) -> bool,
    ) -> Result<Vec<Taken<'a>>, JsonError> {
        let source = match &self.source {
            Source::Container(name) => name,
            Source::Label(key) => pod.labels().and_then(|labels| labels.get(key)).unwrap_or_default(),
            Source::Annotation(key) => annotations.get(key).unwrap_or_default(),
            Source::Nothing => "",
        };
        if source.is_empty() {
            return Ok(Vec::new());
        }
        let mut available = BTreeMap::default();
        for WithText { value: container, .. } in pod.spec().containers() {
            if container.name() == source {
                let is_app = !earlier.has(container)?;
                let taken = container.env()?.0.into_iter().map(|entry| Taken::env(container, entry));
                let taken = taken.filter(|taken| is_app || takes_from_earlier(taken));
                available.extend(taken.map(|taken| (taken.key.clone(), taken)));
            }
        }
        Ok(self.names.iter().filter_map(|name| available.remove(&**name)).collect())
    }
}

impl Source {
    /// Rule: I-ENV-8.
    fn from_field_path(path: &str) -> Self {
        let subscript = path.strip_suffix("']").and_then(|path| path.split_once("['"));
        match subscript {
            Some(("metadata.labels", key)) if is_qualified_name(key) => Self::Label(key.into()),
            Some(("metadata.annotations", key)) if is_qualified_name(&key.to_lowercase()) => {
                Self::Annotation(key.into())
            }
            _ => Self::Nothing,
        }
    }
}

/// Names of the variables in `$(NAME)` references of a `subPathExpr`, in order, repeated ones included. `$$(NAME)` is no
/// escape. Rule: I-VOL-8.
pub(crate) fn references(expression: &str) -> impl Iterator<Item = &str> {
    expression.split("$(").skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once(')')?;
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || "-._".contains(c));
        (starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))).then_some(name)
    })
}

/// A name as label and annotation keys have it: `[prefix/]name`.
fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_name = |name: &str| {
        let ends_well = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        name.len() <= 63
            && ends_well(name.chars().next())
            && ends_well(name.chars().next_back())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let is_label = |label: &str| {
        let ends_well = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        ends_well(label.chars().next())
            && ends_well(label.chars().next_back())
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    is_name(name) && prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(is_label))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule: I-ENV-8.
    #[test]
    fn field_paths() {
        let label = |key: &str| Source::Label(key.into());
        let annotation = |key: &str| Source::Annotation(key.into());
        let cases = [
            ("metadata.labels['app']", label("app")),
            ("metadata.labels['example.com/app']", label("example.com/app")),
            ("metadata.annotations['App.Example.com/Key']", annotation("App.Example.com/Key")),
            ("metadata.labels['App.Example.com/Key']", Source::Nothing),
            ("metadata.labels['']", Source::Nothing),
            ("metadata.labels['a/b/c']", Source::Nothing),
            ("metadata.labels['a['app']", Source::Nothing),
            ("metadata.labels[\"app\"]", Source::Nothing),
            ("metadata.labels['app']x", Source::Nothing),
            ("metadata.labels", Source::Nothing),
            ("['app']", Source::Nothing),
            ("spec.x['app']", Source::Nothing),
            ("metadata.name", Source::Nothing),
        ];
        for (path, expected) in cases {
            assert_eq!(Source::from_field_path(path), expected, "{path}");
        }
    }

    /// Rule: I-VOL-8.
    #[test]
    fn references_in_a_sub_path_expression() {
        let cases: [(&str, &[&str]); 8] = [
            ("foo/$(POD_NAME)/$(OD_NAME)/conf", &["POD_NAME", "OD_NAME"]),
            ("$$(A)", &["A"]),
            ("$(A)$(A)", &["A", "A"]),
            ("$()", &[]),
            ("$(1A)", &[]),
            ("$(A", &[]),
            ("$(A b)$(C-.d)", &["C-.d"]),
            ("$($(B)", &["B"]),
        ];
        for (expression, expected) in cases {
            assert_eq!(references(expression).collect::<Vec<_>>(), expected, "{expression}");
        }
    }

    #[test]
    fn names_are_a_sorted_union() {
        let entry =
            serde_json::json!({"envName": "b", "envNames": ["c", "a", "b"], "sourceContainerName": "main"});
        let names = TransferEnv::compile(&entry).names;
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
