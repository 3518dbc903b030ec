use serde_json::json;

use super::*;

fn mk_shared() -> Shared {
    Shared {
        world: Mutex::default(),
        health: Arc::default(),
        changed: Notify::new(),
        published: Arc::default(),
        metrics: Arc::new(Metrics::new("test")),
    }
}

/// A first list of every kind, with these sets.
fn list(shared: &Shared, sets: &[&str]) {
    fn events<K>(objects: Vec<K>, happening: fn(Event<K>) -> Happening) -> Vec<Happening> {
        let objects = objects.into_iter().map(Event::InitApply);
        std::iter::once(Event::Init).chain(objects).chain([Event::InitDone]).map(happening).collect()
    }
    let sets = sets.iter().map(|name| {
        let metadata = json!({"name": name, "resourceVersion": "1"});
        let spec = json!({"selector": {"matchLabels": {"app": "shop"}}, "containers": []});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a set")
    });
    shared.take(WatchedKind::SidecarSet, events(sets.collect(), Happening::Set), true);
    shared.take(WatchedKind::Namespace, events(Vec::new(), Happening::Namespace), true);
    shared.take(WatchedKind::ControllerRevision, events(Vec::new(), Happening::Revision), true);
    shared.take(WatchedKind::ConfigMap, events(Vec::new(), Happening::AllowList), true);
}

/// A defect while compiling loses no change, and the data do not pass for fresh.
#[test]
fn a_compile_that_fails_is_made_good_by_the_next() {
    let (shared, mut compiler) = (mk_shared(), Compiler::default());
    list(&shared, &["a", "b"]);
    let later = Instant::now() + Duration::from_secs(60);
    assert!(!shared.publish(&mut compiler, |compiler, changes| {
        // As far as it may have come before a defect.
        let _ = compiler.compile(changes);
        panic!("a defect")
    }));
    assert!(shared.published.load().is_none());
    assert!(shared.health.age(later).expect("an age") >= Duration::from_secs(60), "a change waits");
    assert!(shared.publish(&mut compiler, Compiler::compile));
    assert_eq!(shared.published.load().as_ref().expect("a Snapshot").set_count(), 2);
    assert!(shared.publish(&mut compiler, |_, _| unreachable!("nothing has changed")));
}
