//! The Pod's annotations during injection: what it came with, and what changes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::json::StrMap;

/// Annotations as later rules see them: the Pod's own, overlaid with what earlier rules set.
#[derive(Debug)]
pub struct Annotations<'a> {
    own: Option<&'a StrMap<'a>>,
    overlay: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

impl<'a> Annotations<'a> {
    /// Starts with the Pod's own; `None` if it has no `annotations` member.
    #[must_use]
    pub fn new(own: Option<&'a StrMap<'a>>) -> Self {
        Self { own, overlay: BTreeMap::new() }
    }

    /// The value as it is now.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.overlay.get(key).map(|value| &**value).or_else(|| self.own?.get(key))
    }

    /// Sets a value.
    pub fn set(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.overlay.insert(key.into(), value.into());
    }

    /// Whether the Pod came with an `annotations` member.
    #[must_use]
    pub fn pod_has_some(&self) -> bool {
        self.own.is_some()
    }

    /// What has to be written, by key: values equal to the Pod's own are left out (I-RESP-10).
    pub fn changes(&self) -> impl Iterator<Item = (&str, &str)> {
        let differs = |key: &str, value: &str| self.own.and_then(|own| own.get(key)) != Some(value);
        self.overlay
            .iter()
            .map(|(key, value)| (&**key, &**value))
            .filter(move |(key, value)| differs(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let own: StrMap<'_> = crate::json::Cursor::read_all(r#"{"same":"1","other":"2"}"#).unwrap();
        let mut annotations = Annotations::new(Some(&own));
        annotations.set("same", "1");
        annotations.set("other", "3");
        annotations.set("new", "");
        assert_eq!(annotations.get("other"), Some("3"));
        assert_eq!(annotations.get("same"), Some("1"));
        assert_eq!(annotations.changes().collect::<Vec<_>>(), [("new", ""), ("other", "3")]);
    }
}
