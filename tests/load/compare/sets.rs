//! Folders of SidecarSets to compare: many that do not match the Pod of the review, or several that do.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// Sets in one file.
const SETS_PER_FILE: usize = 1_000;

/// Fills `folder` with `count` sets: those of `yardstick`, which match, and others, which do not.
pub(super) fn write_others(folder: &Path, yardstick: &Path, count: usize) -> Result<(), String> {
    let file = yardstick.join("sets.json");
    let wrong = |error: String| format!("{}: {error}", file.display());
    let bytes = fs::read(&file).map_err(|error| wrong(error.to_string()))?;
    let list: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    let ours = list.get("items").and_then(Value::as_array).ok_or_else(|| wrong("no items".to_owned()))?;
    let others = (0..count.saturating_sub(ours.len())).map(other);
    write(folder, ours.iter().cloned().chain(others).collect())
}

/// Fills `folder` with `count` sets that all match the Pod of the review.
pub(super) fn write_matching(folder: &Path, count: usize) -> Result<(), String> {
    write(folder, (0..count).map(matching).collect())
}

/// Shares a label's value with the Pod, so that the index alone has to tell it from a set that matches.
fn other(number: usize) -> Value {
    json!({
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "SidecarSet",
        "metadata": {"name": format!("other-{number}")},
        "spec": {
            "selector": {"matchLabels": {"app": format!("app-{number}"), "tier": "backend"}},
            "containers": [{"name": "sidecar", "image": "registry.example/sidecar:1"}],
        },
    })
}

fn matching(number: usize) -> Value {
    json!({
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "SidecarSet",
        "metadata": {"name": format!("matching-{number}")},
        "spec": {
            "selector": {"matchLabels": {"app": "orders-api"}},
            "containers": [{
                "name": format!("sidecar-{number}"),
                "image": format!("registry.example/sidecar-{number}:1.4.2"),
                "env": [{"name": "LEVEL", "value": "info"}, {"name": "PORT", "value": "9000"}],
                "ports": [{"containerPort": 9_000 + number}],
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                "volumeMounts": [{"name": format!("data-{number}"), "mountPath": "/data"}],
            }],
            "volumes": [{"name": format!("data-{number}"), "emptyDir": {}}],
        },
    })
}

fn write(folder: &Path, sets: Vec<Value>) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (number, sets) in sets.chunks(SETS_PER_FILE).enumerate() {
        let file = folder.join(format!("sets-{number}.json"));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": sets});
        fs::write(&file, list.to_string()).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sidecarset::source::folder::{Files, load};
    use sidecarset_core::validation::Options;

    use super::*;

    #[test]
    fn the_folders_hold_as_many_good_sets_as_asked_for() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let yardstick = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/bench/sidecarsets");
        let (others, matching) = (dir.path().join("others"), dir.path().join("matching"));
        write_others(&others, &yardstick, 1_003).expect("written");
        write_matching(&matching, 20).expect("written");
        let count = |folder| {
            load(&Files::read(folder).expect("readable"), Options::default()).expect("good").parts.sets.len()
        };
        assert_eq!((count(&others), count(&matching)), (1_003, 20));
    }
}
