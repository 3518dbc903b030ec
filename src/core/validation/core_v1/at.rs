//! A place in the spec: the value there and its path, which is written only when it is needed.

use std::fmt::Write;

use serde_json::Value;

use crate::api::decode::quantity_text;
use crate::api::quantity::Quantity;

/// Up to so many members are searched one after the other.
const FEW_MEMBERS: usize = 8;

/// A value and how one gets there. `null` is absent. `'v` is the life of the JSON, `'p` that of the places above.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'v, 'p> {
    value: Option<&'v Value>,
    step: Step<'p>,
    above: Option<&'p At<'v, 'p>>,
}

/// The last part of a path.
#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Member(&'p str),
    Index(usize),
    Key(&'p str),
}

impl<'v, 'p> At<'v, 'p> {
    /// The place where a path begins.
    pub(super) fn root(name: &'p str, value: &'v Value) -> Self {
        Self { value: present(Some(value)), step: Step::Member(name), above: None }
    }

    /// The member `name`.
    pub(super) fn child<'c>(&'c self, name: &'c str) -> At<'v, 'c> {
        At { value: self.member(name), step: Step::Member(name), above: Some(self) }
    }

    /// Another path for the same value: upstream calls this member `name`.
    pub(super) fn called(self, name: &'p str) -> Self {
        Self { step: Step::Member(name), ..self }
    }

    /// Another path for the same value: upstream reports this list item as the one at `index`.
    pub(super) fn numbered(self, index: usize) -> Self {
        Self { step: Step::Index(index), ..self }
    }

    /// This place with the value of another: upstream reports that one here.
    pub(super) fn holding(self, other: &At<'v, '_>) -> Self {
        Self { value: other.value, ..self }
    }

    /// The items of a list.
    pub(super) fn items<'c>(&'c self) -> impl Iterator<Item = At<'v, 'c>> {
        self.list().iter().enumerate().map(|(index, value)| At {
            value: present(Some(value)),
            step: Step::Index(index),
            above: Some(self),
        })
    }

    /// The entries of a map, with their keys.
    pub(super) fn entries<'c>(&'c self) -> impl Iterator<Item = (&'v str, At<'v, 'c>)>
    where
        'v: 'c,
    {
        let entries = self.value.and_then(Value::as_object).into_iter().flatten();
        entries.map(|(key, value)| {
            (key.as_str(), At { value: present(Some(value)), step: Step::Key(key), above: Some(self) })
        })
    }

    /// The place of the key `name`, which need not be there.
    pub(super) fn key<'c>(&'c self, name: &'c str) -> At<'v, 'c> {
        At { value: self.member(name), step: Step::Key(name), above: Some(self) }
    }

    /// The names of all members that are there.
    pub(super) fn member_names(&self) -> impl Iterator<Item = &'v str> {
        let members = self.value.and_then(Value::as_object).into_iter().flatten();
        members.filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    /// Whether there is a value.
    pub(super) fn is_present(&self) -> bool {
        self.value.is_some()
    }

    /// Whether there is no value, or one that many members cannot tell from none: `""`, `0`, `[]`, `{}`.
    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Number(number)) => number.as_i64() == Some(0),
            Some(Value::Bool(flag)) => !flag,
        }
    }

    /// The value as it stands.
    pub(super) fn value(&self) -> Option<&'v Value> {
        self.value
    }

    /// The string, `""` if absent.
    pub(super) fn text(&self) -> &'v str {
        self.value.and_then(Value::as_str).unwrap_or_default()
    }

    /// The whole number, 0 if absent.
    pub(super) fn number(&self) -> i64 {
        self.value.and_then(Value::as_i64).unwrap_or_default()
    }

    /// The flag, `false` if absent.
    pub(super) fn flag(&self) -> bool {
        self.value.and_then(Value::as_bool).unwrap_or_default()
    }

    /// The list, empty if absent.
    pub(super) fn list(&self) -> &'v [Value] {
        self.value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// The quantity, zero if absent.
    pub(super) fn quantity(&self) -> Quantity {
        let text = self.value.and_then(quantity_text);
        text.and_then(|text| Quantity::parse(&text).ok()).unwrap_or(Quantity::ZERO)
    }

    /// The string at the member `name`, `""` if absent.
    pub(super) fn text_at(&self, name: &str) -> &'v str {
        self.member(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The path as Kubernetes writes it: `spec.containers[0].name`.
    pub(super) fn path(&self) -> String {
        let mut path = self.above.map(At::path).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = match self.step {
            Step::Member(name) if path.is_empty() => write!(path, "{name}"),
            Step::Member(name) => write!(path, ".{name}"),
            Step::Index(index) => write!(path, "[{index}]"),
            Step::Key(key) => write!(path, "[{key}]"),
        };
        path
    }

    fn member(&self, name: &str) -> Option<&'v Value> {
        let map = self.value.and_then(Value::as_object)?;
        // Hashing a name takes longer than looking at a few, and most objects here have few.
        if map.len() <= FEW_MEMBERS {
            return present(map.iter().find(|(member, _)| *member == name).map(|(_, value)| value));
        }
        present(map.get(name))
    }
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}
