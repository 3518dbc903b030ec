//! Hot upgrade: two containers for one, of which one works.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::json::write_text;
use crate::api::keys;
use crate::content::Fragment;
use crate::injection::annotations::Annotations;
use crate::json::push_string;
use crate::matching::Matched;

/// Appends the env entries that tell a hot container its version and that of the other one. Rules: I-HOT-3, I-ENV-4.
pub(crate) fn push_version_env(out: &mut String, final_name: &str) {
    for (name, prefix) in
        [(keys::ENV_VERSION, keys::VERSION_PREFIX), (keys::ENV_VERSION_ALT, keys::VERSION_ALT_PREFIX)]
    {
        out.push_str(",{\"name\":\"");
        out.push_str(name);
        out.push_str("\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":");
        push_string(out, &format!("metadata.annotations['{prefix}{final_name}']"));
        out.push_str("}}}");
    }
}

/// Writes the initial state of every hot pair: `-1` works.
///
/// Rules: I-HOT-4, I-HOT-5, I-UPD-4, I-DEF-8.
pub(crate) fn annotate(annotations: &mut Annotations<'_>, matched: &[Matched<'_>]) {
    let hot: Vec<&Fragment> = matched
        .iter()
        .flat_map(|matched| matched.content.fragments())
        .filter(|fragment| fragment.hot_empty_image.is_some())
        .collect();
    if hot.is_empty() {
        return;
    }
    let mut working =
        working_containers(annotations.get(keys::WORKING_HOT_UPGRADE_CONTAINER).unwrap_or_default());
    for fragment in hot {
        let name = &fragment.name;
        working.insert(name.to_string(), format!("{name}-1"));
        for (suffix, version, version_alt) in [("-1", "1", "0"), ("-2", "0", "1")] {
            annotations.set(format!("{}{name}{suffix}", keys::VERSION_PREFIX), version);
            annotations.set(format!("{}{name}{suffix}", keys::VERSION_ALT_PREFIX), version_alt);
        }
    }
    let mut text = String::from("{");
    for (name, container) in &working {
        if text.len() > 1 {
            text.push(',');
        }
        write_text(&mut text, name);
        text.push(':');
        write_text(&mut text, container);
    }
    text.push('}');
    annotations.set(keys::WORKING_HOT_UPGRADE_CONTAINER, text);
}

/// What the Pod's annotation says; empty if it is no object, and a member of a wrong type reads as the empty string.
/// Rule: I-HOT-5.
pub(crate) fn working_containers(text: &str) -> BTreeMap<String, String> {
    let Ok(Value::Object(members)) = serde_json::from_str(text) else { return BTreeMap::new() };
    let name = |value: Value| if let Value::String(name) = value { name } else { String::new() };
    members.into_iter().map(|(key, value)| (key, name(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules: I-HOT-5, I-DEF-8.
    #[test]
    fn what_the_pod_carries() {
        let read = |text: &str| working_containers(text).into_iter().collect::<Vec<_>>();
        let pairs = |list: &[(&str, &str)]| {
            list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(read(r#"{"z":5,"y":"y-2"}"#), pairs(&[("y", "y-2"), ("z", "")]));
        for nothing in ["", "null", "[]", "oops", "{"] {
            assert_eq!(read(nothing), [], "{nothing}");
        }
    }
}
