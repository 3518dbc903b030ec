//! Which Pods a rollout waits for, by their names. The controller's message names a few; this names them by what is the matter.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{DynamicObject, ListParams};
use kube::core::{Request, Selector};
use kube::{Client, Resource as _, ResourceExt as _};
use serde::{Deserialize, Serialize};
use sidecarset_core::api::keys;
use sidecarset_core::control::interner::Interner;
use sidecarset_core::control::matching::is_injected;
use sidecarset_core::control::pod::{Keep, PodFacts};
use sidecarset_core::control::{PodObject, condition};

/// How many Pods are named of each list.
const NAMED: usize = 5;
/// Pods that are asked for at a time.
const PAGE: u32 = 500;

/// Some Pods.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Names {
    pub(super) count: usize,
    /// The first, as namespace/name.
    pub(super) first: Vec<String>,
}

impl Names {
    fn add(&mut self, pod: &PodFacts) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(format!("{}/{}", pod.namespace, pod.name));
        }
    }
}

/// Pods that carry a set, by what they lack. One may be in several lists.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodsSeen {
    /// They do not run what the set says.
    pub(super) not_updated: Names,
    /// They cannot be updated in place (condition `SidecarSetUpgradable`).
    pub(super) not_upgradable: Names,
    /// They do run it and are not ready.
    pub(super) updated_not_ready: Names,
}

impl PodsSeen {
    fn add(&mut self, set: &str, hash: &str, pod: &PodFacts) {
        if !pod.is_active() || !is_injected(set, pod) {
            return;
        }
        if pod.records.hash(set) != hash {
            self.not_updated.add(pod);
            if condition::says_no(pod, set) {
                self.not_upgradable.add(pod);
            }
        } else if !pod.is_ready {
            self.updated_not_ready.add(pod);
        }
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    items: Vec<PodObject>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Reads the Pods that the set selects and keeps names of them.
///
/// # Errors
///
/// They cannot be read; most often because that is not allowed.
pub(super) async fn read(client: &Client, set: &DynamicObject) -> Result<PodsSeen, kube::Error> {
    let selector: Option<LabelSelector> = serde_json::from_value(set.data["spec"]["selector"].clone()).ok();
    // A selector that an API server does not know selects nothing that could be told.
    let Some(selector) = selector.and_then(|selector| Selector::try_from(selector).ok()) else {
        return Ok(PodsSeen::default());
    };
    let name = set.name_any();
    let hash = set.annotations().get(keys::HASH).cloned().unwrap_or_default();
    let mut parameters = ListParams::default().labels_from(&selector).limit(PAGE);
    let (mut seen, mut interner) = (PodsSeen::default(), Interner::default());
    loop {
        let request = Request::new(Pod::url_path(&(), None)).list(&parameters);
        let page: Page = client.request(request.map_err(kube::Error::BuildRequest)?).await?;
        for pod in &page.items {
            seen.add(&name, &hash, &PodFacts::new(pod, &Keep::default(), &mut interner));
        }
        match page.metadata.next.filter(|next| !next.is_empty()) {
            Some(next) => parameters = parameters.continue_token(&next),
            None => return Ok(seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, set: &str, hash: &str, ready: &str, refuses: bool) -> PodFacts {
        let records =
            json!({set: {"hash": hash, "sidecarSetName": set, "updateTimestamp": "2026-01-01T00:00:00Z"}});
        let upgradable = json!({"type": keys::CONDITION_UPGRADABLE, "status": "False", "reason": "r",
            "message": json!({set: !refuses}).to_string()});
        let object: PodObject = serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": name, "uid": name, "annotations": {
                keys::INJECTED_LIST: set, keys::HASH: records.to_string(),
            }},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}, upgradable]},
        }))
        .expect("a Pod");
        PodFacts::new(&object, &Keep::default(), &mut Interner::default())
    }

    #[test]
    fn pods_are_told_by_what_they_lack() {
        let mut seen = PodsSeen::default();
        for pod in [
            pod("good", "log", "new", "True", false),
            pod("old", "log", "old", "True", false),
            pod("stuck", "log", "old", "False", true),
            pod("slow", "log", "new", "False", false),
            pod("other", "mesh", "old", "False", true),
        ] {
            seen.add("log", "new", &pod);
        }
        let names = |first: &[&str]| Names {
            count: first.len(),
            first: first.iter().map(|name| format!("shop/{name}")).collect(),
        };
        let expected = PodsSeen {
            not_updated: names(&["old", "stuck"]),
            not_upgradable: names(&["stuck"]),
            updated_not_ready: names(&["slow"]),
        };
        assert_eq!(seen, expected);
    }

    #[test]
    fn many_pods_are_counted_and_a_few_named() {
        let mut names = Names::default();
        for number in 0..7 {
            names.add(&pod(&format!("p{number}"), "log", "old", "True", false));
        }
        assert_eq!((names.count, names.first.len()), (7, 5));
    }
}
