//! The two maps of upgrade records that a Pod carries, as the controller reads and renews them.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::interner::Interner;
use crate::injection::hash_annotation::{self, Entries, Entry};

/// What many Pods have in common of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordBody {
    set: Arc<str>,
    hash: Arc<str>,
    set_name: Arc<str>,
    sidecar_list: Option<Vec<String>>,
    controller_revision: Arc<str>,
    unknown: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    /// [`NEVER`] if no time is told: an `Option` would take twice the space, in every Pod.
    updated_unix: i64,
    body: Arc<RecordBody>,
}

const NEVER: i64 = i64::MIN;

/// The form in which the annotation was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A map of records.
    Records,
    /// The legacy map of plain hashes.
    Legacy,
    /// Absent or neither: nothing is read of it, and its records are what a write starts from.
    Broken,
}

/// One of the two annotations, taken apart: most of it is the same for many Pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    shape: Shape,
    records: Box<[Record]>,
}

/// The record that an upgraded Pod gets.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// The set.
    pub set: &'a str,
    /// Its hash.
    pub hash: &'a str,
    /// Names of its sidecars.
    pub sidecar_list: &'a [String],
    /// Its latest revision.
    pub revision: &'a str,
}

impl Records {
    /// Reads the annotation; `None` if the Pod has none.
    ///
    /// Rule: C-UPD-14, I-ANN-1.
    pub(crate) fn read(text: Option<&str>, interner: &mut Interner) -> Self {
        let text = text.unwrap_or_default();
        let strings: Vec<String> = match serde_json::from_str(text) {
            Ok(Value::Object(members)) => {
                members.into_iter().filter(|(_, value)| value.is_string()).map(|(name, _)| name).collect()
            }
            _ => return Self { shape: Shape::Broken, records: Box::default() },
        };
        let Ok(mut parsed) = hash_annotation::parse_whole(text) else {
            return Self { shape: Shape::Broken, records: Box::default() };
        };
        let shape = match (strings.len(), parsed.dropped.is_empty()) {
            (0, true) => Shape::Records,
            (count, true) if count == parsed.entries.len() => Shape::Legacy,
            _ => Shape::Broken,
        };
        if shape == Shape::Broken {
            parsed.entries.retain(|name, _| !strings.iter().any(|string| string == name));
        }
        let records = parsed.entries.iter().map(|(name, entry)| Record::new(name, entry, interner)).collect();
        Self { shape, records }
    }

    /// The hash that the Pod has of a set, empty if none: H(P,S) or HW(P,S).
    #[must_use]
    pub fn hash(&self, set: &str) -> &str {
        self.record(set).map_or("", |body| &body.hash)
    }

    /// The revision that the Pod has of a set, empty if none is told.
    #[must_use]
    pub fn revision(&self, set: &str) -> &str {
        self.record(set).map_or("", |body| &body.controller_revision)
    }

    /// When the Pod got its record of a set, in seconds since 1970.
    pub(super) fn updated_unix(&self, set: &str) -> Option<i64> {
        self.find(set).map(|record| record.updated_unix).filter(|unix| *unix != NEVER)
    }

    fn record(&self, set: &str) -> Option<&RecordBody> {
        self.find(set).map(|record| &*record.body)
    }

    fn find(&self, set: &str) -> Option<&Record> {
        let is_readable = self.shape != Shape::Broken;
        self.records.iter().find(|record| is_readable && &*record.body.set == set)
    }

    fn entries(&self) -> Entries<'_> {
        self.records.iter().map(|record| (Cow::Borrowed(&*record.body.set), record.entry())).collect()
    }

    /// The same as records of this moment: of a legacy map each hash, under the name of `set`.
    fn renewed<'a>(&'a self, set: &'a str, now_unix: i64) -> Entries<'a> {
        let mut entries = self.entries();
        if self.shape == Shape::Legacy {
            for entry in entries.values_mut() {
                entry.update_timestamp = Some(now_unix);
                entry.set_name = set.into();
            }
        }
        entries
    }
}

/// The two annotations after an upgrade: that with hashes, and the other one if it changes.
///
/// Rules: C-UPD-13, C-UPD-14.
pub(crate) fn renew(
    full: &Records,
    without_image: &Records,
    new: &NewRecord<'_>,
    now_unix: i64,
) -> (String, Option<String>) {
    let mut entries = full.renewed(new.set, now_unix);
    let other = (full.shape != Shape::Records && without_image.shape == Shape::Legacy).then(|| {
        let mut other = without_image.renewed(new.set, now_unix);
        for (name, entry) in &entries {
            other.entry(name.clone()).or_insert_with(|| entry.clone());
        }
        text(&other)
    });
    let entry = Entry {
        update_timestamp: Some(now_unix),
        hash: new.hash.into(),
        set_name: new.set.into(),
        sidecar_list: Some(new.sidecar_list.into()),
        controller_revision: new.revision.into(),
        unknown: Cow::default(),
    };
    entries.insert(new.set.into(), entry);
    (text(&entries), other)
}

impl Record {
    fn new(name: &str, entry: &Entry<'_>, interner: &mut Interner) -> Self {
        let Entry { update_timestamp, hash, set_name, sidecar_list, controller_revision, unknown } = entry;
        let body = RecordBody {
            set: interner.text(name),
            hash: interner.text(hash),
            set_name: interner.text(set_name),
            sidecar_list: sidecar_list.as_ref().map(|list| list.to_vec()),
            controller_revision: interner.text(controller_revision),
            unknown: interner.text(unknown),
        };
        Self { updated_unix: update_timestamp.unwrap_or(NEVER), body: interner.record(body) }
    }

    fn entry(&self) -> Entry<'_> {
        let RecordBody { set: _, hash, set_name, sidecar_list, controller_revision, unknown } = &*self.body;
        Entry {
            update_timestamp: Some(self.updated_unix).filter(|unix| *unix != NEVER),
            hash: (&**hash).into(),
            set_name: (&**set_name).into(),
            sidecar_list: sidecar_list.as_deref().map(Cow::Borrowed),
            controller_revision: (&**controller_revision).into(),
            unknown: (&**unknown).into(),
        }
    }
}

fn text(entries: &Entries<'_>) -> String {
    let mut text = String::new();
    hash_annotation::write(entries, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: NewRecord<'_> =
        NewRecord { set: "test-sidecarset", hash: "bbb", sidecar_list: &[], revision: "" };

    fn read(text: &str) -> Records {
        Records::read(Some(text), &mut Interner::default())
    }

    /// Rows C-T-ANN-1 to 3. Rules: C-UPD-1, C-UPD-13, C-UPD-14, C-RUST-12.
    #[test]
    fn maps_of_hashes_are_read_and_renewed() {
        let legacy = (r#"{"test-sidecarset":"aaa"}"#, r#"{"test-sidecarset":"without-image-aaa"}"#);
        let records =
            (r#"{"test-sidecarset":{"hash":"aaa"}}"#, r#"{"test-sidecarset":{"hash":"without-image-aaa"}}"#);
        for ((full, without), is_rewritten) in [(records, false), (legacy, true)] {
            let (full, without) = (read(full), read(without));
            assert_eq!(
                (full.hash("test-sidecarset"), without.hash("test-sidecarset")),
                ("aaa", "without-image-aaa")
            );
            let (full, rewritten) = renew(&full, &without, &NEW, 0);
            assert_eq!(read(&full).hash("test-sidecarset"), "bbb");
            assert_eq!(rewritten.is_some(), is_rewritten);
            if let Some(rewritten) = rewritten {
                assert_eq!(read(&rewritten).shape, Shape::Records);
                assert_eq!(read(&rewritten).hash("test-sidecarset"), "without-image-aaa");
            }
        }
        let broken = read("failed-sidecarset-hash");
        assert_eq!((broken.hash("test-sidecarset"), broken.revision("test-sidecarset")), ("", ""));
        let (full, rewritten) = renew(&broken, &broken, &NEW, 0);
        assert_eq!((read(&full).hash("test-sidecarset"), rewritten), ("bbb", None));
    }

    /// What another program, or a later release, has put into the record of another set. Rules: C-UPD-13, C-RUST-12.
    #[test]
    fn unknown_members_of_other_sets_stay() {
        let other = r#""a":{"updateTimestamp":null,"hash":"1","sidecarSetName":"a","sidecarList":null,"later":[1.0, {"b":"c"}],"x":null}"#;
        let own = r#""test-sidecarset":{"hash":"aaa","later":1}"#;
        let found = read(&format!("{{{other},{own}}}"));
        let (full, without) = renew(&found, &found, &NEW, 0);
        assert!(full.starts_with(&format!("{{{},", other.replace(", {", ",{"))), "{full}");
        assert_eq!(full.matches("later").count(), 1, "that of the set itself is made anew");
        assert_eq!(without, None);
    }

    /// Rule: C-UPD-14.
    #[test]
    fn legacy_and_mixed_maps() {
        let legacy = read(r#"{"a":"1","b":"2"}"#);
        let (full, without) = renew(&legacy, &read(r#"{"a":"3"}"#), &NEW, 0);
        let entry = |set: &str, hash: &str| {
            format!(
                r#""{set}":{{"updateTimestamp":"1970-01-01T00:00:00Z","hash":"{hash}","sidecarSetName":"test-sidecarset","sidecarList":null}}"#
            )
        };
        assert!(full.starts_with(&format!("{{{},{},", entry("a", "1"), entry("b", "2"))), "{full}");
        assert_eq!(without.unwrap(), format!("{{{},{}}}", entry("a", "3"), entry("b", "2")));
        let mixed = read(r#"{"a":{"hash":"1"},"test-sidecarset":"2"}"#);
        assert_eq!((mixed.hash("a"), mixed.hash("test-sidecarset")), ("", ""), "neither shape");
        let (full, without) = renew(&mixed, &mixed, &NEW, 0);
        assert_eq!((read(&full).hash("a"), without), ("1", None), "records by themselves stay");
    }
}
