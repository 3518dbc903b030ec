//! The hash maps that a Pod carries (I-CONST-1, I-CONST-2): reading what is there, writing what will be.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::json_tree::{Tree, decode, separate};
use crate::api::json::write_text;

mod time;

pub use time::format_rfc3339;
pub(crate) use time::parse_rfc3339;

/// Longest part of a found value that a message repeats, in characters.
const SHOWN: usize = 64;

/// The entries by name of the set.
pub type Entries<'a> = BTreeMap<Cow<'a, str>, Entry<'a>>;

/// What a hash map says about one set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When the set was injected, seconds since 1970-01-01T00:00:00Z; `None` is written as `null`.
    pub update_timestamp: Option<i64>,
    /// Hash of the set.
    pub hash: Cow<'a, str>,
    /// Name of the set.
    pub set_name: Cow<'a, str>,
    /// Names of its containers (I-ANN-4); `None` is written as `null`.
    pub sidecar_list: Option<Cow<'a, [String]>>,
    /// Name of the ControllerRevision; empty is not written. We set it in I-CONST-1 only.
    pub controller_revision: Cow<'a, str>,
    /// Members that we do not know, as they were found: compact JSON, a comma before each. They are kept as long as the entry is.
    pub unknown: Cow<'a, str>,
}

impl Entry<'_> {
    /// Whether the two differ at most in their time: then the older time is kept.
    ///
    /// Rule: I-DEF-34. Decision: D-24.
    #[must_use]
    pub fn same_but_time(&self, other: &Self) -> bool {
        // Whoever wrote members that we do not know is not asked whether the entry stays.
        let Self { update_timestamp: _, hash, set_name, sidecar_list, controller_revision, unknown: _ } =
            self;
        *hash == other.hash
            && *set_name == other.set_name
            && *sidecar_list == other.sidecar_list
            && *controller_revision == other.controller_revision
    }

    /// Appends the entry as JSON, members in upstream's order.
    ///
    /// Rule: I-ANN-2, I-ANN-3, C-RUST-12.
    pub fn write(&self, out: &mut String) {
        out.push_str("{\"updateTimestamp\":");
        match self.update_timestamp {
            Some(unix) => {
                out.push('"');
                format_rfc3339(unix, out);
                out.push('"');
            }
            None => out.push_str("null"),
        }
        out.push_str(",\"hash\":");
        write_text(out, &self.hash);
        out.push_str(",\"sidecarSetName\":");
        write_text(out, &self.set_name);
        out.push_str(",\"sidecarList\":");
        match &self.sidecar_list {
            Some(names) => {
                out.push('[');
                for (index, name) in names.iter().enumerate() {
                    separate(out, index);
                    write_text(out, name);
                }
                out.push(']');
            }
            None => out.push_str("null"),
        }
        if !self.controller_revision.is_empty() {
            out.push_str(",\"controllerRevision\":");
            write_text(out, &self.controller_revision);
        }
        out.push_str(&self.unknown);
        out.push('}');
    }
}

/// What was read from an annotation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The entries that could be read.
    pub entries: Entries<'a>,
    /// One sentence for each entry that was dropped: which, what was found, what would be right.
    pub dropped: Vec<String>,
}

/// The annotation is neither empty, nor `null`, nor a JSON object; the Pod is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a JSON object with one member for each SidecarSet, found {found}")]
pub struct NotAnObject {
    /// `no JSON`, `an array` and so on.
    pub found: &'static str,
}

/// Reads the value of a hash annotation. The empty text and `null` are an empty map. An entry that cannot be read is dropped and
/// told; upstream denies the Pod. A string is the legacy form: the hash alone.
///
/// # Errors
///
/// [`NotAnObject`].
///
/// Rule: I-ANN-1, I-DEF-8, I-DEF-9.
pub fn parse(text: &str) -> Result<Parsed<'_>, NotAnObject> {
    let mut parsed = parse_whole(text)?;
    parsed.entries.values_mut().for_each(|entry| entry.unknown = Cow::default());
    Ok(parsed)
}

/// As [`parse`], with the members that we do not know: an admission drops them as upstream does, the controller keeps them.
///
/// # Errors
///
/// [`NotAnObject`].
///
/// Rule: I-ANN-1, C-RUST-12.
pub fn parse_whole(text: &str) -> Result<Parsed<'_>, NotAnObject> {
    if text.is_empty() {
        return Ok(Parsed::default());
    }
    let members = match Tree::parse(text) {
        None => return Err(NotAnObject { found: "no JSON" }),
        Some(Tree::Null) => return Ok(Parsed::default()),
        Some(Tree::Members(members)) => members,
        Some(other) => return Err(NotAnObject { found: other.kind() }),
    };
    let legacy = members.iter().any(|(_, value)| matches!(value, Tree::String(_)));
    let mut parsed = Parsed::default();
    for (name, value) in &members {
        let name = decode(name);
        let entry = match value {
            Tree::String(hash) => Ok(legacy_entry(&name, decode(hash))),
            Tree::Null if legacy => Ok(legacy_entry(&name, Cow::default())),
            Tree::Null => Ok(Entry::default()),
            Tree::Members(members) => entry(members),
            other => Err(format!("expected an object, found {}", other.kind())),
        };
        match entry {
            Ok(entry) => {
                parsed.entries.insert(name, entry);
            }
            Err(reason) => {
                parsed.entries.remove(&name);
                parsed.dropped.push(format!("entry {:?} is dropped: {reason}", shown(&name)));
            }
        }
    }
    Ok(parsed)
}

/// Appends the map as JSON, sorted by name.
///
/// Rule: I-ANN-2, I-ANN-3.
pub fn write(entries: &Entries<'_>, out: &mut String) {
    out.push('{');
    for (index, (name, entry)) in entries.iter().enumerate() {
        separate(out, index);
        write_text(out, name);
        out.push(':');
        entry.write(out);
    }
    out.push('}');
}

fn legacy_entry<'a>(name: &Cow<'a, str>, hash: Cow<'a, str>) -> Entry<'a> {
    Entry { hash, set_name: name.clone(), ..Entry::default() }
}

/// Reads an entry; names of members match in any case, and the last of several counts.
fn entry<'a>(members: &[(&'a str, Tree<'a>)]) -> Result<Entry<'a>, String> {
    let mut entry = Entry::default();
    for (name, value) in members {
        let name = decode(name);
        let is = |member: &str| name.eq_ignore_ascii_case(member);
        if is("hash") {
            read_string("hash", value, &mut entry.hash)?;
        } else if is("sidecarSetName") {
            read_string("sidecarSetName", value, &mut entry.set_name)?;
        } else if is("controllerRevision") {
            read_string("controllerRevision", value, &mut entry.controller_revision)?;
        } else if is("sidecarList") {
            entry.sidecar_list = list(value)?.map(Cow::Owned);
        } else if is("updateTimestamp") {
            entry.update_timestamp = timestamp(value)?;
        } else {
            let unknown = entry.unknown.to_mut();
            unknown.push(',');
            write_text(unknown, &name);
            unknown.push(':');
            value.write(unknown);
        }
    }
    Ok(entry)
}

/// A `null` leaves the member as it is.
fn read_string<'a>(name: &str, value: &Tree<'a>, member: &mut Cow<'a, str>) -> Result<(), String> {
    match value {
        Tree::Null => {}
        Tree::String(text) => *member = decode(text),
        other => return Err(format!("{name}: expected a string, found {}", other.kind())),
    }
    Ok(())
}

fn list(value: &Tree<'_>) -> Result<Option<Vec<String>>, String> {
    let items = match value {
        Tree::Null => return Ok(None),
        Tree::Array(items) => items,
        other => return Err(format!("sidecarList: expected an array, found {}", other.kind())),
    };
    let name = |item: &Tree<'_>| match item {
        Tree::Null => Ok(String::new()),
        Tree::String(text) => Ok(decode(text).into_owned()),
        other => Err(format!("sidecarList: expected strings, found {}", other.kind())),
    };
    items.iter().map(name).collect::<Result<_, _>>().map(Some)
}

fn timestamp(value: &Tree<'_>) -> Result<Option<i64>, String> {
    let text = match value {
        Tree::Null => return Ok(None),
        Tree::String(text) => decode(text),
        other => return Err(format!("updateTimestamp: expected a string, found {}", other.kind())),
    };
    match time::parse_rfc3339(&text) {
        Some(time::ZERO) => Ok(None),
        Some(unix) => Ok(Some(unix)),
        None => Err(format!(
            "updateTimestamp: expected a time like \"2026-07-02T09:56:09Z\", found {:?}",
            shown(&text)
        )),
    }
}

/// The start of a text from outside.
fn shown(text: &str) -> &str {
    let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests;
