use serde_json::{Value, json};

use super::*;
use crate::control::fixtures::{SET, mk_pod, mk_set, record};
use crate::control::update;

/// A set with the hot sidecar `mesh` that wants an image.
fn mk(image: &str) -> SetFacts {
    let upgrade = json!({"upgradeType": "HotUpgrade", "hotUpgradeEmptyImage": "e:1"});
    mk_set(&json!({"containers": [{"name": "mesh", "image": image, "upgradeStrategy": upgrade}]}))
}

/// A Pod with the pair: images, readiness and the working one.
fn pair(images: [&str; 2], ready: [bool; 2], working: Option<&str>, patch: &Value) -> PodFacts {
    let names = ["mesh-1", "mesh-2"];
    let of = |index: usize| json!({"name": names[index], "image": images[index], "imageID": images[index], "ready": ready[index]});
    let mut pod = json!({
        "metadata": {"annotations": {
            "kruise.io/sidecarset-working-hotupgrade-container": working.map(|name| json!({"mesh": name}).to_string()),
            "version.sidecarset.kruise.io/mesh-1": "1", "versionalt.sidecarset.kruise.io/mesh-1": "0",
            "version.sidecarset.kruise.io/mesh-2": "0", "versionalt.sidecarset.kruise.io/mesh-2": "1",
        }},
        "spec": {"containers": [of(0), of(1)]}, "status": {"containerStatuses": [of(0), of(1)]},
    });
    json_patch::merge(&mut pod, patch);
    mk_pod("p", &pod)
}

fn upgraded(set: &SetFacts, pod: &PodFacts) -> PodChange {
    update::upgrade(set, pod, &Before::read(SET, pod), "rev", 0).unwrap()
}

fn working(change: &PodChange) -> Option<&str> {
    change.annotations.get("kruise.io/sidecarset-working-hotupgrade-container").map(String::as_str)
}

/// Rows C-T-HOT-1 to 7; row 5 as C-BUG-5 says. Rules: C-HOTC-2, C-HOTC-4, C-HOTC-5.
#[test]
fn which_container_gets_the_image() {
    let (both, first, none) = ([true, true], [true, false], [false, false]);
    let rows = [
        (["e:1", "a:1"], both, Some("mesh-2"), "n:1", Some(("mesh-1", "n:1", "mesh-1"))),
        (["a:1", "e:1"], both, Some("mesh-1"), "n:1", Some(("mesh-2", "n:1", "mesh-2"))),
        (["a:1", "e:1"], both, Some("mesh-1"), "a:1", None),
        (["a:1", "b:1"], first, Some("mesh-2"), "n:1", Some(("mesh-2", "n:1", "mesh-2"))),
        (["a:1", "b:1"], first, Some("mesh-2"), "a:1", Some(("mesh-2", "e:1", "mesh-1"))),
        (["a:1", "b:1"], both, Some("mesh-2"), "n:1", Some(("mesh-1", "n:1", "mesh-1"))),
        (["a:1", "b:1"], none, None, "n:1", Some(("mesh-1", "n:1", "mesh-1"))),
        (["a:1", "b:1"], both, Some("mesh-2"), "b:1", None),
    ];
    for (row, (images, ready, before, wanted, expected)) in rows.into_iter().enumerate() {
        let change = upgraded(&mk(wanted), &pair(images, ready, before, &json!({})));
        let images: Vec<(&str, &str)> = change.images.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let row = row + 1;
        assert_eq!(
            images,
            expected.map(|(name, image, _)| (name, image)).into_iter().collect::<Vec<_>>(),
            "C-T-HOT-{row}"
        );
        let text = expected.map(|(_, _, working)| json!({"mesh": working}).to_string());
        assert_eq!(working(&change), text.as_deref(), "C-T-HOT-{row}");
        assert!(change.annotations["kruise.io/sidecarset-hash"].contains("bbb"), "the hash in any case");
    }
}

/// The annotation values of one cycle (spec 30 section 8.2). Rules: C-HOTC-1, C-HOTC-3, C-HOTC-6, C-HOTC-8, C-BUG-38.
#[test]
fn versions_over_one_cycle() {
    let set = mk("b:1");
    let versions = |pod: &PodFacts| {
        let key = |prefix: &str, name: &str| pod.annotation(&format!("{prefix}{name}")).unwrap().to_owned();
        ["mesh-1", "mesh-2"]
            .map(|name| (key(keys::VERSION_PREFIX, name), key(keys::VERSION_ALT_PREFIX, name)))
    };
    let texts = |values: [(&str, &str); 2]| values.map(|(a, b)| (a.to_owned(), b.to_owned()));
    let pod = pair(["a:1", "e:1"], [true; 2], Some("mesh-1"), &json!({}));
    assert_eq!(versions(&pod), texts([("1", "0"), ("0", "1")]));
    let change = upgraded(&set, &pod);
    let migrating = pair(
        ["a:1", "b:1"],
        [true; 2],
        Some("mesh-2"),
        &json!({"metadata": {"annotations": change.annotations}}),
    );
    assert_eq!(versions(&migrating), texts([("1", "22"), ("22", "1")]));
    let change = update::reset(&set, &migrating, &Before::read(SET, &migrating), 0);
    assert_eq!(change.images.iter().collect::<Vec<_>>(), [(&"mesh-1".to_owned(), &"e:1".to_owned())]);
    assert!(!change.annotations.contains_key(keys::HASH) && working(&change).is_none());
    let done = pair(
        ["e:1", "b:1"],
        [true; 2],
        Some("mesh-2"),
        &json!({"metadata": {"annotations": {
            (keys::IN_PLACE_STATE): null, "version.sidecarset.kruise.io/mesh-1": change.annotations["version.sidecarset.kruise.io/mesh-1"],
            "versionalt.sidecarset.kruise.io/mesh-1": "22", "version.sidecarset.kruise.io/mesh-2": "22",
            "versionalt.sidecarset.kruise.io/mesh-2": change.annotations["versionalt.sidecarset.kruise.io/mesh-2"],
        }}}),
    );
    assert_eq!(versions(&done), texts([("0", "22"), ("22", "0")]));
    let (sidecar, hot_pair) = set.hot_pairs().next().unwrap();
    assert!(
        is_other_empty(&set, &done, sidecar, hot_pair)
            && !is_other_empty(&set, &migrating, sidecar, hot_pair)
    );
}

/// Rules: C-HOTC-7, C-HOTC-13, C-HOTC-14, C-BUG-6.
#[test]
fn when_old_containers_are_emptied() {
    let set = mk("b:1");
    let is_due = |pod: &PodFacts| is_ready_for_reset(&set, pod, &Before::read(SET, pod));
    let migrating = |patch: Value| pair(["a:1", "b:1"], [true; 2], Some("mesh-2"), &patch);
    assert!(is_due(&migrating(json!({}))));
    assert!(!is_due(&pair(["e:1", "b:1"], [true; 2], Some("mesh-2"), &json!({}))), "over");
    let not_ready = json!({"status": {"conditions": []}});
    assert!(is_due(&migrating(not_ready.clone())), "all that count are ready");
    assert!(!is_due(&pair(["a:1", "b:1"], [true, false], Some("mesh-2"), &not_ready)));
    assert!(
        is_due(&pair(["a:1", "b:1"], [false, true], Some("mesh-2"), &not_ready)),
        "the old one does not count"
    );
    let state = json!({SET: {"lastContainerStatuses": {"mesh-2": {"imageID": "x"}}}}).to_string();
    let slow = json!({
        "metadata": {"annotations": {(keys::IN_PLACE_STATE): state}},
        "status": {"containerStatuses": [
            {"name": "mesh-1", "ready": true}, {"name": "mesh-2", "image": "e:1", "imageID": "x", "ready": true}]},
    });
    assert!(!is_due(&migrating(slow)), "not started yet");
    let other_empty = json!({"metadata": {"annotations": {(keys::HASH_WITHOUT_IMAGE): record("other")}}});
    assert!(
        !is_due(&pair(["b:1", "old-empty:1"], [true; 2], Some("mesh-1"), &other_empty)),
        "another empty image"
    );
    let native = json!({"spec": {"initContainers": [{"name": "mesh-1", "image": "a:1"}, {"name": "mesh-2", "image": "b:1"}], "containers": [{"name": "main"}]}});
    let native = migrating(native);
    assert!(!is_due(&native) && upgraded(&mk("c:1"), &native).images.is_empty());
}
