//! Where in a text a field stands: the documents of a file as trees of lines and columns.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::documents;

/// Line and column, both from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The character in it.
    pub column: u64,
}

/// The documents of one text; `None` for one that cannot be read.
#[derive(Debug)]
pub struct LocatedText(Vec<Option<Spanned<Node>>>);

impl LocatedText {
    /// Reads a text as [`documents::parse`] does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(documents::parse_as(text).into_iter().map(Result::ok).collect())
    }

    /// The position of a field (`spec.containers[0].name`, `metadata.labels[a/b]`) in a document (from 1), of an item in it if that
    /// is a List. What is not there is where its nearest parent is, so that every field of a readable document has a place.
    #[must_use]
    pub fn find(&self, document: usize, item: Option<usize>, path: &str) -> Option<Found> {
        let root = self.0.get(document.checked_sub(1)?)?.as_ref()?;
        let mut at = At { position: position_of(root)?, node: &root.value };
        let mut steps = Vec::new();
        if let Some(index) = item {
            steps.extend([Step::Member("items"), Step::Bracket(index.to_string())]);
        }
        let own = steps.len();
        steps.extend(split(path));
        let mut taken = 0;
        for step in &steps {
            let Some(next) = at.node.child(step) else { break };
            at = next;
            taken += 1;
        }
        Some(Found {
            position: at.position,
            complete: taken == steps.len(),
            depth: taken.saturating_sub(own),
        })
    }
}

/// Where a field was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Of the field: its key, or its value if that is a scalar; of a list's item the item.
    pub position: Position,
    /// Whether it is the field itself and not one of its parents.
    pub complete: bool,
    /// How many steps of the path were there.
    pub depth: usize,
}

/// A value of which only the shape matters.
#[derive(Debug)]
enum Node {
    Scalar,
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

struct At<'n> {
    position: Position,
    node: &'n Node,
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step<'p> {
    Member(&'p str),
    /// An index, or the key of a map.
    Bracket(String),
}

fn split(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (key, after) = inner.split_once(']').unwrap_or((inner, ""));
            steps.push(Step::Bracket(key.to_owned()));
            rest = after;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (member, after) = rest.split_at(end);
            steps.push(Step::Member(member));
            rest = after;
            if member.is_empty() && !rest.starts_with('[') {
                // Two dots in a row: no path of ours, but it must come to an end.
                rest = rest.strip_prefix('.').unwrap_or("");
            }
        }
    }
    steps
}

fn position_of<T>(spanned: &Spanned<T>) -> Option<Position> {
    let Spanned { referenced, .. } = spanned;
    let position = Position { line: referenced.line(), column: referenced.column() };
    (position.line > 0).then_some(position)
}

impl Node {
    fn child(&self, step: &Step<'_>) -> Option<At<'_>> {
        match (self, step) {
            (Self::Map(entries), Step::Member(_) | Step::Bracket(_)) => {
                let name = match step {
                    Step::Member(name) => *name,
                    Step::Bracket(key) => key.as_str(),
                };
                let (key, value) = entries.iter().find(|(key, _)| key.value == name)?;
                let place = if matches!(value.value, Self::Scalar) { position_of(value) } else { None };
                Some(At { position: place.or_else(|| position_of(key))?, node: &value.value })
            }
            (Self::List(items), Step::Bracket(index)) => {
                let item = items.get(index.parse::<usize>().ok()?)?;
                Some(At { position: position_of(item)?, node: &item.value })
            }
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

/// A scalar of any type.
macro_rules! scalars {
    ($($name:ident: $type:ty),*) => {$(
        fn $name<E>(self, _: $type) -> Result<Node, E> {
            Ok(Node::Scalar)
        }
    )*};
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128, visit_f64: f64,
        visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Node::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# a comment
apiVersion: v1
metadata:
  labels: {a/b: c, \"d.e\": f}
spec:
  containers:
  - name: one
    image: 5
  - {name: two}
---
kind: List
items:
- spec:
    selector: ~
";

    fn found(document: usize, item: Option<usize>, path: &str) -> (u64, u64, bool) {
        let found = LocatedText::parse(TEXT).find(document, item, path).expect("a place");
        (found.position.line, found.position.column, found.complete)
    }

    #[test]
    fn fields_have_places() {
        assert_eq!(found(1, None, "apiVersion"), (2, 13, true), "the value of a scalar");
        assert_eq!(found(1, None, "spec.containers"), (6, 3, true), "the key of a list");
        assert_eq!(found(1, None, "spec.containers[0]"), (7, 5, true), "the item");
        assert_eq!(found(1, None, "spec.containers[0].image"), (8, 12, true));
        assert_eq!(found(1, None, "spec.containers[1].name"), (9, 12, true));
        assert_eq!(found(1, None, "metadata.labels[a/b]"), (4, 17, true));
        assert_eq!(found(1, None, "metadata.labels[d.e]"), (4, 27, true));
        assert_eq!(found(2, Some(0), "spec.selector"), (14, 15, true));
    }

    #[test]
    fn what_is_missing_is_where_its_parent_is() {
        assert_eq!(found(1, None, "spec.selector.matchLabels"), (5, 1, false));
        assert_eq!(found(1, None, "spec.containers[7].name"), (6, 3, false));
        assert_eq!(found(1, None, ""), (2, 1, true));
        assert_eq!(found(1, None, "nothing..here"), (2, 1, false));
        assert!(LocatedText::parse(TEXT).find(3, None, "spec").is_none());
        assert!(LocatedText::parse("a: [").find(1, None, "a").is_none());
    }
}
