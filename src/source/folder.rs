//! SidecarSets, Namespaces, ControllerRevisions and the allow list from the YAML and JSON files of a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use sidecarset_core::api::keys;
use sidecarset_core::field::FieldError;
use sidecarset_core::set_admission::is_conflict;
use sidecarset_core::snapshot::{SidecarSet, SnapshotParts, UnlistedNamespaces};
use sidecarset_core::validation::{self, ALLOW_LIST_CONFIG_MAP, Options, StoredSets, Validation};

use super::documents::{self, kind_of};
pub use super::files::{Files, Problem};
use super::stored::{StoredCluster, StoredRevision};

/// What a folder holds, defaulted and validated.
#[derive(Debug)]
pub struct Loaded {
    /// The parts of a Snapshot.
    pub parts: SnapshotParts,
    /// What validation reads.
    pub cluster: StoredCluster,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Problem>,
    /// Where each set of the parts is from, in their order.
    pub origins: Vec<Origin>,
}

/// The place in the files that a set is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    file: PathBuf,
    document: usize,
    item: Option<usize>,
}

impl Origin {
    /// A problem with a field of the set of this place.
    #[must_use]
    pub fn about(&self, set: &str, finding: &FieldError) -> Problem {
        Place { file: &self.file, document: self.document, item: self.item }.of_set(set, finding)
    }
}

/// Reads the documents of the files as admission would: each set is decoded, defaulted, and validated against all the others.
///
/// In a folder no set comes before the other, and a cluster holds conflicting sets too if they are older than the rules or came at
/// the same time. So a conflict between two sets is a warning here, unless validation is strict.
///
/// # Errors
///
/// Every finding in every file.
///
/// Decision: D-10, D-12.
pub fn load(files: &Files, options: Options) -> Result<Loaded, Vec<Problem>> {
    let (loaded, problems) = inspect(files, options, OtherKinds::AreProblems);
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

/// What is done with documents of kinds that a folder of SidecarSets has no use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherKinds {
    /// They are there by mistake.
    AreProblems,
    /// They are meant for somebody else.
    AreSkipped,
}

/// As [`load`], but what is good is there also if something else is not.
#[must_use]
pub fn inspect(files: &Files, options: Options, other_kinds: OtherKinds) -> (Loaded, Vec<Problem>) {
    let mut loader = Loader::new(other_kinds);
    for (file, bytes) in &files.0 {
        loader.file(file, bytes);
    }
    loader.finish(options)
}

struct Loader<'f> {
    other_kinds: OtherKinds,
    sets: Vec<(Place<'f>, SidecarSet)>,
    namespaces: Vec<(String, Vec<(String, String)>)>,
    revisions: Vec<Value>,
    allow_list: Option<Value>,
    problems: Vec<Problem>,
    /// Where each kind and name was seen first.
    first_seen: BTreeMap<(&'static str, String), String>,
}

/// A place in a file: what a problem is reported with.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a Path,
    document: usize,
    /// Position in a `List`.
    item: Option<usize>,
}

impl Place<'_> {
    fn problem(&self, detail: String) -> Problem {
        Problem {
            file: self.file.to_owned(),
            document: Some(self.document),
            item: self.item,
            detail,
            ..Problem::default()
        }
    }

    fn origin(&self) -> Origin {
        Origin { file: self.file.to_owned(), document: self.document, item: self.item }
    }

    fn of_set(&self, name: &str, finding: &FieldError) -> Problem {
        let set = Some(name.to_owned());
        Problem { set, finding: Some(finding.clone()), ..self.problem(finding.to_string()) }
    }

    fn describe(&self) -> String {
        let item = self.item.map(|n| format!(", items[{n}]")).unwrap_or_default();
        format!("{}, document {}{item}", self.file.display(), self.document)
    }
}

impl<'f> Loader<'f> {
    fn new(other_kinds: OtherKinds) -> Self {
        Self {
            other_kinds,
            sets: Vec::new(),
            namespaces: Vec::new(),
            revisions: Vec::new(),
            allow_list: None,
            problems: Vec::new(),
            first_seen: BTreeMap::new(),
        }
    }

    fn file(&mut self, file: &'f Path, bytes: &[u8]) {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let detail =
                    format!("not UTF-8 from byte {} on; save the file as UTF-8", error.valid_up_to());
                return self.problems.push(Problem { file: file.to_owned(), detail, ..Problem::default() });
            }
        };
        for (index, document) in documents::parse(text).into_iter().enumerate() {
            let place = Place { file, document: index + 1, item: None };
            match document {
                Ok(document) => self.document(place, document),
                Err(error) => {
                    let position = error.position;
                    self.problems.push(Problem { position, ..place.problem(error.detail) });
                }
            }
        }
    }

    fn problem(&mut self, place: Place<'_>, detail: String) {
        self.problems.push(place.problem(detail));
    }

    /// Validates each set against all of them.
    fn finish(self, options: Options) -> (Loaded, Vec<Problem>) {
        let Self { other_kinds: _, sets, namespaces, revisions, allow_list, mut problems, first_seen: _ } =
            self;
        let stored = StoredSets::new(sets.iter().map(|(_, set)| set.document()));
        let stored_revisions = revisions.iter().filter_map(|revision| StoredRevision::new(revision).ok());
        let cluster = StoredCluster {
            sets: Arc::new(stored),
            revisions: stored_revisions.map(Arc::new).collect(),
            allow_list: allow_list.map(Arc::new),
        };
        let mut warnings = Vec::new();
        for (place, set) in &sets {
            let document = set.document();
            let Validation { findings, warnings: warned } =
                cluster.view(document, |view| validation::create(document, view, options));
            let is_warning = |finding: &&FieldError| !options.strict && is_conflict(finding);
            let (conflicts, findings): (Vec<_>, Vec<_>) = findings.iter().partition(is_warning);
            problems.extend(findings.into_iter().map(|finding| place.of_set(set.name(), finding)));
            let warned = conflicts.into_iter().chain(&warned);
            warnings.extend(warned.map(|warning| place.of_set(set.name(), warning)));
        }
        let (origins, sets) = sets.into_iter().map(|(place, set)| (place.origin(), set)).unzip();
        let parts = SnapshotParts {
            sets,
            namespaces,
            revisions,
            revision_namespace: None,
            unlisted_namespaces: UnlistedNamespaces::HaveNameLabel,
        };
        (Loaded { parts, cluster, warnings, origins }, problems)
    }

    fn document(&mut self, place: Place<'f>, document: Value) {
        match kind_of(&document) {
            ("apps.kruise.io/v1beta1" | "apps.kruise.io/v1alpha1", "SidecarSet") => {
                self.set(place, &document)
            }
            ("v1", "Namespace") => self.namespace(place, &document),
            ("apps/v1", "ControllerRevision") => self.revision(place, document),
            ("v1", "ConfigMap") => self.config_map(place, document),
            (_, "List" | "SidecarSetList" | "NamespaceList" | "ControllerRevisionList" | "ConfigMapList") => {
                self.list(place, document);
            }
            (_, kind)
                if self.other_kinds == OtherKinds::AreSkipped && !kind.eq_ignore_ascii_case("SidecarSet") => {
            }
            (version, kind) => {
                let detail = format!(
                    "apiVersion {version:?}, kind {kind:?} has no place here; allowed are SidecarSet \
                     (apps.kruise.io/v1beta1 or v1alpha1), Namespace (v1), ControllerRevision (apps/v1), ConfigMap (v1) \
                     {ALLOW_LIST_CONFIG_MAP} and List (v1)"
                );
                self.problem(place, detail);
            }
        }
    }

    fn list(&mut self, place: Place<'f>, mut list: Value) {
        if place.item.is_some() {
            return self.problem(place, "a List inside a List; put its items into the outer one".to_owned());
        }
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => {
                for (n, item) in items.into_iter().enumerate() {
                    self.document(Place { item: Some(n), ..place }, item);
                }
            }
            _ => self
                .problem(place, "items: not found, or not a list; a List has its objects there".to_owned()),
        }
    }

    /// The object's name, if it has one and is the first of its kind to have it.
    fn name(
        &mut self,
        place: Place<'_>,
        kind: &'static str,
        document: &Value,
        scope: &str,
    ) -> Option<String> {
        let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() {
            self.problem(place, format!("metadata.name: not found; every {kind} needs one"));
            return None;
        }
        let key = (kind, format!("{scope}{name}"));
        match self.first_seen.get(&key) {
            Some(first) => {
                let detail = format!("metadata.name: a second {kind} {name:?}; the first one is in {first}");
                self.problem(place, detail);
                None
            }
            None => {
                self.first_seen.insert(key, place.describe());
                Some(name.to_owned())
            }
        }
    }

    fn set(&mut self, place: Place<'f>, document: &Value) {
        let Some(name) = self.name(place, "SidecarSet", document, "") else { return };
        match SidecarSet::from_file_document(document) {
            Ok(set) => self.sets.push((place, set)),
            Err(findings) => {
                self.problems.extend(findings.iter().map(|finding| place.of_set(&name, finding)));
            }
        }
    }

    /// Rule: I-CONST-16. Decision: D-23.
    fn namespace(&mut self, place: Place<'_>, document: &Value) {
        let Some(name) = self.name(place, "Namespace", document, "") else { return };
        let mut labels = Vec::new();
        match document.pointer("/metadata/labels") {
            None | Some(Value::Null) => {}
            Some(Value::Object(members)) => {
                for (key, value) in members {
                    match value {
                        // The name's own label always has the name as value; the Snapshot adds it.
                        Value::String(_) if key == keys::NAMESPACE_NAME => {}
                        Value::String(text) => labels.push((key.clone(), text.clone())),
                        other => {
                            let detail =
                                format!("metadata.labels[{key}]: {other} is no text; put it in quotes");
                            self.problem(place, detail);
                        }
                    }
                }
            }
            Some(_) => self.problem(place, "metadata.labels: not a mapping of text to text".to_owned()),
        }
        self.namespaces.push((name, labels));
    }

    fn revision(&mut self, place: Place<'_>, document: Value) {
        let namespace = document.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
        let scope = format!("{namespace}/");
        if self.name(place, "ControllerRevision", &document, &scope).is_some() {
            self.revisions.push(document);
        }
    }

    /// The allow list, which is kept in one ConfigMap; others have no place here. Rule: A-API-P5.
    fn config_map(&mut self, place: Place<'_>, mut document: Value) {
        let Some(name) = self.name(place, "ConfigMap", &document, "") else { return };
        if name == ALLOW_LIST_CONFIG_MAP {
            self.allow_list = document.get_mut("data").map(Value::take);
        } else if self.other_kinds == OtherKinds::AreProblems {
            let detail = format!(
                "metadata.name: found {name:?}; the only ConfigMap that is read is {ALLOW_LIST_CONFIG_MAP:?}, the list of \
                 annotations that sets may put on Pods"
            );
            self.problem(place, detail);
        }
    }
}
