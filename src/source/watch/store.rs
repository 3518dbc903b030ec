//! The objects of one kind, as a watch tells about them. What was complete stays until a new list is complete.

use std::collections::BTreeMap;

use kube::Resource;
use kube::runtime::watcher::Event;

/// One object of a listing: what is kept of it, or why it is left out.
#[derive(Debug, Clone)]
struct Entry<T> {
    resource_version: Box<str>,
    kept: Result<T, Box<str>>,
}

type Listing<T> = BTreeMap<Box<str>, Entry<T>>;

/// All objects of a kind by name: those in use, and those of a list that is not complete yet.
#[derive(Debug)]
pub struct Store<T> {
    current: Listing<T>,
    arriving: Option<Listing<T>>,
    refused: usize,
    is_listed: bool,
    has_changed: bool,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self { current: Listing::new(), arriving: None, refused: 0, is_listed: false, has_changed: false }
    }
}

impl<T: Clone + PartialEq> Store<T> {
    /// Takes one event. `keep` says what to keep of an object, given what is kept of its version before, or why it is left out. It
    /// is not asked about an object whose resource version is known: a new list of what is unchanged costs little.
    ///
    /// An object that cannot be used is left out also if its version before could: so two replicas do the same, whichever versions
    /// each of them saw. Each such version is logged once.
    pub fn handle<K: Resource>(
        &mut self,
        event: Event<K>,
        keep: impl Fn(&K, Option<&T>) -> Result<T, String>,
    ) {
        match event {
            Event::Init => self.arriving = Some(Listing::new()),
            Event::InitApply(object) => {
                let (name, entry) = judge(&self.current, &object, keep);
                self.arriving.get_or_insert_default().insert(name, entry);
            }
            Event::InitDone => {
                let complete = self.arriving.take().unwrap_or_default();
                self.has_changed |= !self.is_listed || !same(&self.current, &complete);
                self.is_listed = true;
                self.refused = complete.values().filter(|entry| entry.kept.is_err()).count();
                self.current = complete;
            }
            Event::Apply(object) => {
                let (name, entry) = judge(&self.current, &object, keep);
                let kept = entry.kept.as_ref().ok().cloned();
                self.refused += usize::from(entry.kept.is_err());
                let before = self.current.insert(name, entry);
                self.note_change(before, kept.as_ref());
            }
            Event::Delete(object) => {
                let before = self.current.remove(name_of(&object));
                self.note_change(before, None);
            }
        }
    }

    fn note_change(&mut self, before: Option<Entry<T>>, now: Option<&T>) {
        let before = before.map(|entry| entry.kept);
        self.refused -= usize::from(matches!(before, Some(Err(_))));
        self.has_changed |= before.and_then(Result::ok).as_ref() != now;
    }

    /// Whether the first list is complete.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// Whether anything in use has changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Has the next call of [`take_changed`](Self::take_changed) say so.
    pub fn set_changed(&mut self) {
        self.has_changed = true;
    }

    /// Whether anything in use has changed since it was last taken notice of.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// What is in use, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.current.iter().filter_map(|(name, entry)| Some((&**name, entry.kept.as_ref().ok()?)))
    }

    /// What is in use under a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.current.get(name)?.kept.as_ref().ok()
    }

    /// Number of objects in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.current.len().saturating_sub(self.refused)
    }

    /// Whether nothing is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Objects that are left out: name and reason.
    #[must_use]
    pub fn refused(&self) -> Vec<(String, String)> {
        if self.refused == 0 {
            return Vec::new();
        }
        let reason = |entry: &Entry<T>| entry.kept.as_ref().err().map(ToString::to_string);
        self.current.iter().filter_map(|(name, entry)| Some((name.to_string(), reason(entry)?))).collect()
    }
}

/// Whether the same is in use. An entry that could be kept as it was shares its value, so this compares addresses for the most part.
fn same<T: PartialEq>(one: &Listing<T>, other: &Listing<T>) -> bool {
    let used = |listing: &Listing<T>| listing.values().filter(|entry| entry.kept.is_ok()).count();
    used(one) == used(other)
        && other.iter().all(|(name, entry)| match &entry.kept {
            Ok(value) => one.get(name).is_some_and(|before| before.kept.as_ref() == Ok(value)),
            Err(_) => true,
        })
}

fn judge<K: Resource, T: Clone + PartialEq>(
    current: &Listing<T>,
    object: &K,
    keep: impl Fn(&K, Option<&T>) -> Result<T, String>,
) -> (Box<str>, Entry<T>) {
    let name = name_of(object);
    let resource_version: Box<str> = object.meta().resource_version.as_deref().unwrap_or_default().into();
    let known = current.get(name);
    if let Some(known) = known.filter(|known| known.resource_version == resource_version) {
        return (name.into(), known.clone());
    }
    let known = known.and_then(|known| known.kept.as_ref().ok());
    let kept = match guarded(|| keep(object, known)).and_then(|kept| kept) {
        // One value for what is equal: the comparison of lists is cheap then.
        Ok(value) => Ok(known.filter(|known| **known == value).cloned().unwrap_or(value)),
        Err(reason) => {
            tracing::warn!(
                object.name = name,
                reason,
                "an object cannot be decoded and is left out; correct it"
            );
            Err(reason.into())
        }
    };
    (name.into(), Entry { resource_version, kept })
}

/// What `work` gives, or a text if it panicked: a defect that one object brings to light must not hide the others.
///
/// # Errors
///
/// It panicked; the panic hook has logged where.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let told = |_| "a defect in sidecarset; its log says where".to_owned();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(told)
}

fn name_of(object: &impl Resource) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    /// Keeps numbers; counts how often it is asked.
    struct World {
        store: Store<i64>,
        asked: Cell<usize>,
    }

    impl World {
        fn new() -> Self {
            Self { store: Store::default(), asked: Cell::new(0) }
        }

        fn handle(&mut self, event: Event<ConfigMap>) -> &mut Self {
            let asked = &self.asked;
            self.store.handle(event, |object, _| {
                asked.set(asked.get() + 1);
                let text = object.data.as_ref().map_or("", |data| &data["n"]);
                text.parse().map_err(|_| format!("{text:?} is no number"))
            });
            self
        }

        fn list(&mut self, objects: &[(&str, &str, &str)]) -> &mut Self {
            self.handle(Event::Init);
            for (name, version, n) in objects {
                self.handle(Event::InitApply(mk(name, version, n)));
            }
            self.handle(Event::InitDone)
        }

        fn apply(&mut self, name: &str, version: &str, n: &str) -> &mut Self {
            self.handle(Event::Apply(mk(name, version, n)))
        }

        /// What is in use, and whether it changed since the last look.
        #[track_caller]
        fn assert(&mut self, used: &[(&str, i64)], changed: bool) -> &mut Self {
            let found: Vec<_> = self.store.iter().map(|(name, n)| (name, *n)).collect();
            assert_eq!(found, used);
            assert_eq!(self.store.len(), used.len());
            assert_eq!(self.store.take_changed(), changed);
            self
        }
    }

    fn mk(name: &str, version: &str, n: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        let data = Some([("n".to_owned(), n.to_owned())].into());
        ConfigMap { metadata, data, ..ConfigMap::default() }
    }

    #[test]
    fn objects_come_change_and_go() {
        let mut world = World::new();
        world.assert(&[], false);
        assert!(!world.store.is_listed());
        world.list(&[]).assert(&[], true);
        assert!(world.store.is_listed());
        world.apply("b", "2", "20").apply("a", "3", "10").assert(&[("a", 10), ("b", 20)], true);
        world.apply("a", "4", "11").assert(&[("a", 11), ("b", 20)], true);
        world.handle(Event::Delete(mk("b", "5", "20"))).assert(&[("a", 11)], true);
        world.handle(Event::Delete(mk("b", "5", "20"))).assert(&[("a", 11)], false);
    }

    #[test]
    fn what_is_known_is_neither_decoded_again_nor_a_change() {
        let mut world = World::new();
        world.list(&[("a", "1", "10"), ("b", "2", "20")]).assert(&[("a", 10), ("b", 20)], true);
        assert_eq!(world.asked.get(), 2);
        world.list(&[("b", "2", "20"), ("a", "1", "10")]).assert(&[("a", 10), ("b", 20)], false);
        assert_eq!(world.asked.get(), 2, "the versions are known");
        world.apply("a", "9", "10").assert(&[("a", 10), ("b", 20)], false);
        assert_eq!(world.asked.get(), 3, "another version with the same content");
    }

    #[test]
    fn a_new_list_counts_once_it_is_complete() {
        let mut world = World::new();
        world.list(&[("a", "1", "10"), ("b", "2", "20"), ("d", "1", "4")]);
        world.assert(&[("a", 10), ("b", 20), ("d", 4)], true);
        world.handle(Event::Init).handle(Event::InitApply(mk("a", "3", "11")));
        world.assert(&[("a", 10), ("b", 20), ("d", 4)], false);
        // The list broke off; the next one starts afresh.
        world.handle(Event::Init).handle(Event::InitApply(mk("c", "4", "30")));
        world.assert(&[("a", 10), ("b", 20), ("d", 4)], false);
        world.handle(Event::InitDone).assert(&[("c", 30)], true);
    }

    #[test]
    fn what_cannot_be_decoded_is_left_out_alone() {
        let mut world = World::new();
        world
            .list(&[("a", "1", "10"), ("bad", "2", "x"), ("c", "3", "30")])
            .assert(&[("a", 10), ("c", 30)], true);
        let refused = |world: &World| world.store.refused();
        assert_eq!(refused(&world), [("bad".to_owned(), "\"x\" is no number".to_owned())]);
        assert_eq!(world.asked.get(), 3);
        world
            .list(&[("a", "1", "10"), ("bad", "2", "x"), ("c", "3", "30")])
            .assert(&[("a", 10), ("c", 30)], false);
        assert_eq!(world.asked.get(), 3, "each version is judged, and logged, once");
        world.store.handle(Event::Apply(mk("d", "4", "z")), |_, _| panic!("a defect"));
        assert!(
            refused(&world)
                .iter()
                .any(|(name, reason)| name == "d" && reason.contains("a defect in sidecarset"))
        );
        world.handle(Event::Delete(mk("d", "5", "z"))).assert(&[("a", 10), ("c", 30)], false);
        world.apply("a", "4", "y").assert(&[("c", 30)], true);
        assert_eq!(refused(&world).len(), 2);
        world.apply("bad", "5", "20").assert(&[("bad", 20), ("c", 30)], true);
        world.handle(Event::Delete(mk("a", "6", "y"))).assert(&[("bad", 20), ("c", 30)], false);
        assert_eq!(refused(&world), []);
    }
}
