//! The watched objects, each made ready when it arrives and kept in that form, not as the text that it came in.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use rustc_hash::FxHashMap;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use sidecarset_core::compile::CompiledSet;
use sidecarset_core::revision::{Revisions, Wanted};
use sidecarset_core::snapshot::{LabelList, SidecarSet, with_name_label};
use sidecarset_core::validation::StoredSet;

use super::object::{RawObject, fingerprint};
use super::store::Store;
use crate::metrics::WatchedKind;
use crate::source::stored::StoredRevision;

/// A SidecarSet as it is kept.
#[derive(Debug)]
pub struct KeptSet {
    name: Box<str>,
    fingerprint: u64,
    /// For the validation of others.
    pub stored: Arc<StoredSet>,
    /// For admissions.
    pub form: Form,
}

/// What admissions need of a set.
#[derive(Debug)]
pub enum Form {
    /// Nothing else decides about it.
    Ready(Arc<CompiledSet>),
    /// It asks for a ControllerRevision, so it is compiled again when its revisions change.
    Pinned(Pinned),
}

/// A set that asks for a revision.
#[derive(Debug)]
pub struct Pinned {
    document: Box<RawValue>,
    /// The revision that it asks for by name.
    wanted: Option<Box<str>>,
}

impl PartialEq for KeptSet {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.fingerprint == other.fingerprint
    }
}

impl KeptSet {
    /// Decodes and compiles a stored set, unless `known` stands for the same content.
    ///
    /// # Errors
    ///
    /// What makes it no SidecarSet.
    fn keep(object: &RawObject, known: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        let fingerprint = fingerprint(object.text()).ok_or("it is no JSON object")?;
        if let Some(known) = known.filter(|known| known.fingerprint == fingerprint) {
            return Ok(Arc::clone(known));
        }
        let set = SidecarSet::from_stored(document(object)?).map_err(|findings| {
            let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
            told.join("; ")
        })?;
        let document = set.document();
        let form = match Wanted::of(document) {
            None => Form::Ready(Arc::new(CompiledSet::compile(document, &Revisions::default()))),
            Some(wanted) => Form::Pinned(Pinned {
                document: to_raw_value(document).map_err(|error| error.to_string())?,
                wanted: match wanted {
                    Wanted::Name(name) => Some(name.into()),
                    Wanted::CustomVersion(_) => None,
                },
            }),
        };
        Ok(Arc::new(Self {
            name: set.name().into(),
            fingerprint,
            stored: Arc::new(StoredSet::of(document)),
            form,
        }))
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Pinned {
    /// The revisions that the set of this name can mean.
    pub fn meant<'r>(&self, name: &str, revisions: &RevisionIndex<'r>) -> Vec<&'r Arc<StoredRevision>> {
        let named = self.wanted.as_deref().and_then(|wanted| revisions.by_name.get(wanted)).copied();
        let own = revisions.by_set.get(name).into_iter().flatten().copied();
        named.into_iter().chain(own).collect()
    }

    /// Compiles the set with these revisions.
    #[must_use]
    pub fn compile(&self, revisions: &[&Arc<StoredRevision>]) -> CompiledSet {
        let documents: Vec<Value> = revisions.iter().map(|revision| revision.document()).collect();
        // It was a document before.
        let set: Value = serde_json::from_str(self.document.get()).unwrap_or_default();
        CompiledSet::compile(&set, &Revisions::new(&documents))
    }
}

/// Revisions by name and by set.
#[derive(Debug, Default)]
pub struct RevisionIndex<'r> {
    by_name: FxHashMap<&'r str, &'r Arc<StoredRevision>>,
    by_set: FxHashMap<&'r str, Vec<&'r Arc<StoredRevision>>>,
}

impl<'r> RevisionIndex<'r> {
    /// Indexes all revisions of the revision namespace.
    #[must_use]
    pub fn new(revisions: &'r [Arc<StoredRevision>]) -> Self {
        let mut index = Self::default();
        for revision in revisions {
            index.by_name.insert(revision.name(), revision);
            if let Some(set) = revision.set() {
                index.by_set.entry(set).or_default().push(revision);
            }
        }
        index
    }
}

/// A change of one kind or another.
#[derive(Debug)]
pub enum Happening {
    /// Of SidecarSets.
    Set(Event<RawObject>),
    /// Of Namespaces.
    Namespace(Event<PartialObjectMeta<Namespace>>),
    /// Of ControllerRevisions.
    Revision(Event<RawObject>),
    /// Of the allow list's ConfigMap.
    AllowList(Event<RawObject>),
}

/// The stores of all kinds.
#[derive(Debug, Default)]
pub struct World {
    sets: Store<Arc<KeptSet>>,
    namespaces: Store<LabelList>,
    revisions: Store<Arc<StoredRevision>>,
    allow_list: Store<Option<Arc<Value>>>,
}

/// What changed since the last look; everything at the first.
#[derive(Debug, Default)]
pub struct Changes {
    /// All sets, sorted by name.
    pub sets: Option<Vec<Arc<KeptSet>>>,
    /// All namespaces with their labels.
    pub namespaces: Option<Vec<(Box<str>, LabelList)>>,
    /// All revisions.
    pub revisions: Option<Arc<[Arc<StoredRevision>]>>,
    /// The allow list, which may be gone.
    pub allow_list: Option<Option<Arc<Value>>>,
}

/// How a kind stands after a change.
#[derive(Debug)]
pub struct Standing {
    /// Objects in use.
    pub objects: usize,
    /// Objects that are left out: name and reason.
    pub refused: Vec<(String, String)>,
    /// Whether something in use changed.
    pub has_changed: bool,
}

impl World {
    /// Takes one change.
    pub fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::Set(event) => self.sets.handle(event, KeptSet::keep),
            Happening::Namespace(event) => self.namespaces.handle(event, |object, _| Ok(labels(object))),
            Happening::Revision(event) => self.revisions.handle(event, |object, _| revision(object)),
            Happening::AllowList(event) => self.allow_list.handle(event, |object, _| allow_list(object)),
        }
    }

    /// How a kind stands.
    #[must_use]
    pub fn standing(&self, kind: WatchedKind) -> Standing {
        fn of<T: Clone + PartialEq>(store: &Store<T>) -> Standing {
            Standing { objects: store.len(), refused: store.refused(), has_changed: store.has_changed() }
        }
        match kind {
            WatchedKind::SidecarSet => of(&self.sets),
            WatchedKind::Namespace => of(&self.namespaces),
            WatchedKind::ControllerRevision => of(&self.revisions),
            WatchedKind::ConfigMap => of(&self.allow_list),
        }
    }

    /// Has the next call of [`take_changes`](Self::take_changes) give everything: what it gave before came to nothing.
    pub fn give_all_again(&mut self) {
        let Self { sets, namespaces, revisions, allow_list } = self;
        sets.set_changed();
        namespaces.set_changed();
        revisions.set_changed();
        allow_list.set_changed();
    }

    /// What changed since the last call. `None` if nothing did, and as long as a first list is not complete.
    pub fn take_changes(&mut self) -> Option<Changes> {
        let Self { sets, namespaces, revisions, allow_list } = self;
        let is_listed =
            sets.is_listed() && namespaces.is_listed() && revisions.is_listed() && allow_list.is_listed();
        if !is_listed {
            return None;
        }
        let mut changes = Changes::default();
        if sets.take_changed() {
            changes.sets = Some(sets.iter().map(|(_, set)| Arc::clone(set)).collect());
        }
        if namespaces.take_changed() {
            let named = namespaces.iter().map(|(name, labels)| (name.into(), Arc::clone(labels)));
            changes.namespaces = Some(named.collect());
        }
        if revisions.take_changed() {
            changes.revisions = Some(revisions.iter().map(|(_, revision)| Arc::clone(revision)).collect());
        }
        if allow_list.take_changed() {
            changes.allow_list = Some(allow_list.iter().find_map(|(_, data)| data.clone()));
        }
        let Changes { sets, namespaces, revisions, allow_list } = &changes;
        let any = sets.is_some() || namespaces.is_some() || revisions.is_some() || allow_list.is_some();
        any.then_some(changes)
    }
}

/// The object as a tree, without what the API server notes about field managers: nobody reads it, and it is long.
fn document(object: &RawObject) -> Result<Value, String> {
    let mut document: Value = serde_json::from_str(object.text()).map_err(|error| error.to_string())?;
    let metadata = document.get_mut("metadata").and_then(Value::as_object_mut);
    let metadata = metadata.ok_or("metadata: not found; every object has some")?;
    metadata.remove("managedFields");
    if metadata.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err("metadata.name: not found; every object has one".to_owned());
    }
    Ok(document)
}

fn labels(namespace: &PartialObjectMeta<Namespace>) -> LabelList {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let labels = namespace.metadata.labels.iter().flatten();
    with_name_label(name, labels.map(|(key, value)| (key.clone(), value.clone())).collect()).into()
}

fn revision(object: &RawObject) -> Result<Arc<StoredRevision>, String> {
    StoredRevision::new(&document(object)?).map(Arc::new).map_err(|error| error.to_string())
}

/// Rule: A-API-P5.
fn allow_list(object: &RawObject) -> Result<Option<Arc<Value>>, String> {
    Ok(document(object)?.get_mut("data").map(Value::take).map(Arc::new))
}
