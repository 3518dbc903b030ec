//! SidecarSets that change all the time, and whether a Pod has what they said at its time.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::injected::{annotation, items, names};

/// How far behind the newest version an answer may be. A folder is looked at every second; the rest is for a machine that is
/// busy with everything else here.
const STALEST: Duration = Duration::from_secs(10);
/// The sets, in the order of their names; both match Pods with `app: shop`.
const SETS: [&str; 2] = ["back", "front"];

/// Two SidecarSets in a folder, each with a history.
pub(crate) struct Sets {
    folder: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// For each set, when each of its versions began to be written.
    history: [Vec<Instant>; 2],
    /// Hash annotations by set and version: every replica has to say the same.
    hashes: HashMap<(usize, usize), String>,
    stalest: Duration,
}

impl Sets {
    /// Writes the first versions into a folder.
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let state = State { history: Default::default(), hashes: HashMap::new(), stalest: Duration::ZERO };
        let sets = Self { folder, state: Mutex::new(state) };
        for _ in SETS {
            sets.change();
        }
        sets
    }

    /// Writes the next version of the set that was changed least recently.
    pub(crate) fn change(&self) {
        let (set, version) = {
            let mut state = self.lock();
            let set = usize::from(state.history[1].len() < state.history[0].len());
            state.history[set].push(Instant::now());
            (set, state.history[set].len() - 1)
        };
        // As a whole: half a set is a mistake of its author, and not what is tried here.
        let fresh = self.folder.join(".next");
        fs::write(&fresh, object(set, version).to_string()).unwrap();
        fs::rename(&fresh, self.folder.join(format!("{}.json", SETS[set]))).unwrap();
    }

    /// Versions written so far.
    pub(crate) fn changes(&self) -> usize {
        self.lock().history.iter().map(Vec::len).sum()
    }

    /// The longest time by which an answer was behind the newest version.
    pub(crate) fn stalest(&self) -> Duration {
        self.lock().stalest
    }

    /// Whether a Pod that was sent at `from` and answered at `to` has exactly what it has to have.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn judge(&self, pod: &Value, from: Instant, to: Instant) -> Result<(), String> {
        let containers = &pod["spec"]["containers"];
        if pod["metadata"]["labels"]["app"] != "shop" {
            let untouched = names(containers) == ["app"] && !pod.to_string().contains("kruise.io");
            return if untouched { Ok(()) } else { Err("a Pod that no set matches was changed".to_owned()) };
        }
        if names(containers) != ["back-1", "back-2", "front-1", "front-2", "app"] {
            return Err(format!("containers {:?}", names(containers)));
        }
        let mut state = self.lock();
        for (set, name) in SETS.iter().enumerate() {
            let versions: Vec<&str> = items(containers)
                .filter(|container| container["name"].as_str().is_some_and(|it| it.starts_with(name)))
                .filter_map(|container| container["image"].as_str()?.rsplit_once(":v").map(|(_, it)| it))
                .collect();
            let [one, other] = versions[..] else { return Err(format!("{name}: images {versions:?}")) };
            if one != other {
                return Err(format!("{name}: of two versions, {one} and {other}"));
            }
            let version: usize = one.parse().map_err(|_| format!("{name}: version {one}"))?;
            state.judge_version(set, version, from, to)?;
            let hashes: Value = serde_json::from_str(annotation(pod, "kruise.io/sidecarset-hash"))
                .map_err(|error| format!("hash annotation: {error}"))?;
            let hash = hashes[name]["hash"].as_str().ok_or_else(|| format!("{name}: no hash"))?;
            let known = state.hashes.entry((set, version)).or_insert_with(|| hash.to_owned());
            if known != hash {
                return Err(format!("{name}: version {version} has the hashes {known} and {hash}"));
            }
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn judge_version(
        &mut self,
        set: usize,
        version: usize,
        from: Instant,
        to: Instant,
    ) -> Result<(), String> {
        let history = &self.history[set];
        let written = history.get(version).ok_or_else(|| format!("version {version} does not exist"))?;
        if *written > to {
            return Err(format!("version {version} was not written yet"));
        }
        // Valid until its successor was written.
        let behind = history.get(version + 1).map_or(Duration::ZERO, |next| from.duration_since(*next));
        self.stalest = self.stalest.max(behind);
        if behind > STALEST {
            return Err(format!("version {version} was replaced {behind:?} before the Pod was sent"));
        }
        Ok(())
    }
}

fn object(set: usize, version: usize) -> Value {
    let name = SETS[set];
    let container = |number: u8| {
        json!({
            "name": format!("{name}-{number}"), "image": format!("registry.example/{name}:v{version}"),
            "podInjectPolicy": "BeforeAppContainer",
        })
    };
    json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": "shop"}},
            "containers": [container(1), container(2)],
        },
    })
}

/// The Pod with this number. One in ten is matched by no set.
pub(crate) fn pod(namespace: &str, name: &str, number: u64) -> Value {
    let app = if number.is_multiple_of(10) { "other" } else { "shop" };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}},
        "spec": {"containers": [{"name": "app", "image": "registry.example/shop:7"}]},
    })
}
