//! SidecarSets that change all the time, and whether a Pod has what they said at its time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::injected::{annotation, items, names};

/// How far behind the newest version an answer may be. Usually a watch brings it within a moment.
const STALEST: Duration = Duration::from_secs(5);
/// The same around a crash of the API server: when it comes back, each replica has to connect again first.
const STALEST_AROUND_OUTAGE: Duration = Duration::from_secs(30);
/// The sets, in the order of their names; both match Pods with `app: shop`.
pub(crate) const SETS: [&str; 2] = ["back", "front"];

/// Two SidecarSets, each with a history.
#[derive(Default)]
pub(crate) struct Sets(Mutex<State>);

#[derive(Default)]
struct State {
    history: [Vec<Version>; 2],
    /// Hash annotations by set and version: every replica has to say the same.
    hashes: HashMap<(usize, usize), String>,
    stalest: Stalest,
}

/// The longest time by which an answer was behind the newest version.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stalest {
    usually: Duration,
    around_outage: Duration,
}

impl fmt::Display for Stalest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { usually, around_outage } = self;
        writeln!(
            f,
            "| behind the newest set by at most | {usually:.1?}, around a crash of the API server {around_outage:.1?} |"
        )
    }
}

struct Version {
    sent: Instant,
    /// When the API server had stored it.
    stored: Option<Instant>,
}

/// A version of a set on its way to the API server.
pub(crate) struct Next {
    set: usize,
    version: usize,
}

impl Next {
    /// The name of the set.
    pub(crate) fn name(&self) -> &'static str {
        SETS[self.set]
    }

    /// The object of the first version, a merge patch for others.
    pub(crate) fn object(&self) -> Value {
        object(self.set, self.version)
    }

    /// Whether there was none before.
    pub(crate) fn is_first(&self) -> bool {
        self.version == 0
    }
}

impl Sets {
    /// The next version of a set. From now on Pods may have it.
    pub(crate) fn next(&self, set: usize) -> Next {
        let mut state = self.lock();
        state.history[set].push(Version { sent: Instant::now(), stored: None });
        Next { set, version: state.history[set].len() - 1 }
    }

    /// From now on, and a little later, Pods must have it.
    pub(crate) fn stored(&self, next: &Next) {
        self.lock().history[next.set][next.version].stored = Some(Instant::now());
    }

    /// How far behind answers were.
    pub(crate) fn stalest(&self) -> Stalest {
        self.lock().stalest
    }

    /// Whether a Pod that was sent at `from` and answered at `to` has exactly what it has to have. `around_outage`: it may be older.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn judge(
        &self,
        pod: &Value,
        from: Instant,
        to: Instant,
        around_outage: bool,
    ) -> Result<(), String> {
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
            state.judge_version(set, version, from, to, around_outage)?;
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn judge_version(
        &mut self,
        set: usize,
        version: usize,
        from: Instant,
        to: Instant,
        around_outage: bool,
    ) -> Result<(), String> {
        let history = &self.history[set];
        let found = history.get(version).ok_or_else(|| format!("version {version} does not exist"))?;
        if found.sent > to {
            return Err(format!("version {version} was not sent yet"));
        }
        // Valid until its successor was stored.
        let replaced = history.get(version + 1).and_then(|next| next.stored);
        let behind = replaced.map_or(Duration::ZERO, |at| from.saturating_duration_since(at));
        let (stalest, limit) = match around_outage {
            true => (&mut self.stalest.around_outage, STALEST_AROUND_OUTAGE),
            false => (&mut self.stalest.usually, STALEST),
        };
        *stalest = behind.max(*stalest);
        if behind > limit {
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
