//! What the ControllerRevisions of a set tell, and the way back to one of them.

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};
use sidecarset_core::api::keys;

use crate::cli::args::ObjectOutput;
use crate::cli::printer::table;
use crate::duration;

/// The members of `spec` that a revision holds. Rule: C-REV-5.
const MEMBERS: [&str; 5] =
    ["containers", "imagePullSecrets", "initContainers", "patchPodMetadata", "volumes"];

/// Why there is nothing to show or to go back to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HistoryError {
    #[error("unable to find revision {wanted} of sidecarset \"{set}\"; there are {there}")]
    NoSuchRevision { set: String, wanted: i64, there: String },
    #[error("no earlier revision of sidecarset \"{0}\" is kept: nothing to go back to")]
    NoEarlier(String),
    #[error("revision \"{0}\" holds no spec of a SidecarSet")]
    NoSpec(String),
    #[error("cannot write the revision: {0}")]
    Unwritable(String),
}

/// The table of revisions, or one revision whole.
///
/// # Errors
///
/// The revision that is asked for is not there.
pub(super) fn print(
    set: &DynamicObject,
    revisions: &[ControllerRevision],
    wanted: Option<i64>,
    output: ObjectOutput,
) -> Result<String, HistoryError> {
    let shown: Vec<&ControllerRevision> = match wanted {
        Some(_) => vec![target(set, revisions, wanted)?],
        None => oldest_first(revisions),
    };
    let unwritable = |error: &dyn std::fmt::Display| HistoryError::Unwritable(error.to_string());
    match (output, wanted, shown.first()) {
        (ObjectOutput::Json, ..) => {
            let told: Vec<Value> = shown.iter().map(|revision| to_json(set, revision)).collect();
            serde_json::to_string_pretty(&told).map(|text| text + "\n").map_err(|error| unwritable(&error))
        }
        (ObjectOutput::Text, Some(_), Some(revision)) => {
            let spec = &revision.data.0["spec"];
            let spec: Map<String, Value> = MEMBERS
                .iter()
                .filter(|member| !spec[**member].is_null())
                .map(|member| ((*member).to_owned(), spec[*member].clone()))
                .collect();
            let head =
                format!("sidecarset.apps.kruise.io/{} with revision #{}\n", set.name_any(), number(revision));
            serde_saphyr::to_string(&spec).map(|spec| head + &spec).map_err(|error| unwritable(&error))
        }
        (ObjectOutput::Text, ..) => Ok(as_table(set, &shown, Timestamp::now())),
    }
}

fn as_table(set: &DynamicObject, revisions: &[&ControllerRevision], now: Timestamp) -> String {
    let head = ["REVISION", "NAME", "CUSTOM-VERSION", "AGE", "IMAGES"].map(str::to_owned).to_vec();
    let rows = revisions.iter().map(|revision| {
        let mark = if is_latest(set, revision) { " (latest)" } else { "" };
        let created = revision.creation_timestamp().map(|time| time.0);
        let age = created.and_then(|created| now.duration_since(created).try_into().ok());
        vec![
            format!("{}{mark}", number(revision)),
            revision.name_any(),
            custom_version(revision).unwrap_or("<none>").to_owned(),
            age.map_or_else(|| "<unknown>".to_owned(), duration::age),
            images(revision),
        ]
    });
    let mut text = format!("sidecarset.apps.kruise.io/{}\n", set.name_any());
    // Writing to a String does not fail.
    let _ = write!(text, "{}", table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
    text
}

fn to_json(set: &DynamicObject, revision: &ControllerRevision) -> Value {
    json!({
        "revision": number(revision),
        "name": revision.name_any(),
        "latest": is_latest(set, revision),
        "customVersion": custom_version(revision),
        "creationTimestamp": revision.creation_timestamp(),
        "spec": revision.data.0["spec"],
    })
}

/// The revision with this number; without one, the newest but one that differs from the set as it is.
///
/// # Errors
///
/// There is none.
pub(super) fn target<'a>(
    set: &DynamicObject,
    revisions: &'a [ControllerRevision],
    wanted: Option<i64>,
) -> Result<&'a ControllerRevision, HistoryError> {
    let sorted = oldest_first(revisions);
    match wanted {
        Some(wanted) => sorted.iter().find(|revision| number(revision) == wanted).copied().ok_or_else(|| {
            let there: Vec<_> = sorted.iter().map(|revision| number(revision).to_string()).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            HistoryError::NoSuchRevision { set: set.name_any(), wanted, there }
        }),
        None => sorted
            .into_iter()
            .rev()
            .find(|revision| !is_current(set, revision))
            .ok_or_else(|| HistoryError::NoEarlier(set.name_any())),
    }
}

/// Whether the set is as the revision says: the controller says so about the set as it is now, or their members are equal. The same
/// content may be written in two ways, so that the second alone would not do.
///
/// Rule: C-REV-5, C-REV-12.
pub(super) fn is_current(set: &DynamicObject, revision: &ControllerRevision) -> bool {
    let seen = set.data["status"]["observedGeneration"].as_i64();
    if is_latest(set, revision) && seen.is_some() && seen == set.metadata.generation {
        return true;
    }
    let data = &revision.data.0;
    MEMBERS.iter().all(|member| data["spec"][*member] == set.data["spec"][*member])
}

/// The merge patch that takes the set back to the revision: exactly the five members that it holds, and its custom version. Without
/// one the set's goes, or it would come to name a second revision. Selectors and strategies stay.
///
/// # Errors
///
/// The revision is not of a SidecarSet.
///
/// Rule: C-REV-5, C-REV-15.
pub(super) fn undo(set: &DynamicObject, revision: &ControllerRevision) -> Result<Value, HistoryError> {
    let data = &revision.data.0;
    let Some(stored) = data["spec"].as_object() else {
        return Err(HistoryError::NoSpec(revision.name_any()));
    };
    let mut spec: Map<String, Value> = MEMBERS
        .iter()
        .map(|member| ((*member).to_owned(), stored.get(*member).cloned().unwrap_or_default()))
        .collect();
    spec.insert("customVersion".to_owned(), json!(custom_version(revision)));
    // A set that changed since it was read is not overwritten.
    Ok(json!({"metadata": {"resourceVersion": set.metadata.resource_version}, "spec": spec}))
}

/// Absent is 0, as Go reads it.
pub(super) fn number(revision: &ControllerRevision) -> i64 {
    revision.revision.unwrap_or_default()
}

fn oldest_first(revisions: &[ControllerRevision]) -> Vec<&ControllerRevision> {
    let mut sorted: Vec<_> = revisions.iter().collect();
    sorted.sort_by_key(|revision| (number(revision), revision.creation_timestamp(), revision.name_any()));
    sorted
}

fn is_latest(set: &DynamicObject, revision: &ControllerRevision) -> bool {
    set.data["status"]["latestRevision"].as_str() == revision.metadata.name.as_deref()
}

fn custom_version(revision: &ControllerRevision) -> Option<&str> {
    revision.labels().get(keys::CUSTOM_VERSION).map(String::as_str)
}

/// `name=image` of every container, as far as they can be read.
fn images(revision: &ControllerRevision) -> String {
    let spec = &revision.data.0["spec"];
    let all =
        ["initContainers", "containers"].into_iter().filter_map(|list| spec[list].as_array()).flatten().map(
            |container| {
                format!(
                    "{}={}",
                    container["name"].as_str().unwrap_or("?"),
                    container["image"].as_str().unwrap_or("?")
                )
            },
        );
    let all: Vec<_> = all.collect();
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(images: &[&str]) -> DynamicObject {
        let containers: Vec<_> = images.iter().map(|image| json!({"name": "c", "image": image})).collect();
        serde_json::from_value(json!({
            "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
            "metadata": {"name": "log-agent", "resourceVersion": "7"},
            "spec": {"containers": containers, "selector": {"matchLabels": {"app": "shop"}}},
            "status": {"latestRevision": "log-agent-2"},
        }))
        .expect("a set")
    }

    fn revision(number: i64, image: &str, version: Option<&str>) -> ControllerRevision {
        serde_json::from_value(json!({
            "metadata": {
                "name": format!("log-agent-{number}"), "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": version.map(|version| json!({keys::CUSTOM_VERSION: version})),
            },
            "revision": number,
            "data": {"spec": {
                "$patch": "replace", "containers": [{"name": "c", "image": image}], "imagePullSecrets": null,
                "initContainers": null, "patchPodMetadata": null, "volumes": null,
            }},
        }))
        .expect("a revision")
    }

    #[test]
    fn undo_goes_to_the_newest_that_differs() {
        let revisions = [revision(2, "b", None), revision(1, "a", None), revision(10, "b", None)];
        let found = target(&set(&["b"]), &revisions, None).expect("there is one");
        assert_eq!(number(found), 1, "10 and 2 are as the set is; numbers are not texts");
        assert_eq!(target(&set(&["c"]), &revisions, None).map(number), Ok(10));
        let alone = [revision(1, "b", None)];
        assert_eq!(target(&set(&["b"]), &alone, None), Err(HistoryError::NoEarlier("log-agent".to_owned())));
        // The controller has written the same content another way, and says that it is the latest.
        let mut seen = set(&["c"]);
        seen.data["status"]["observedGeneration"] = json!(4);
        seen.metadata.generation = Some(4);
        let two = [revision(1, "a", None), revision(2, "b", None)];
        assert_eq!(target(&seen, &two, None).map(number), Ok(1));
        seen.metadata.generation = Some(5);
        assert_eq!(target(&seen, &two, None).map(number), Ok(2), "not seen yet");
        let error = target(&set(&["b"]), &revisions, Some(3)).expect_err("no such revision");
        assert!(error.to_string().contains("there are 1, 2, 10"), "{error}");
    }

    /// Rule: C-REV-5.
    #[test]
    fn undo_writes_what_the_revision_holds_and_nothing_else() {
        let patch = undo(&set(&["b"]), &revision(1, "a", Some("v1"))).expect("a patch");
        assert_eq!(
            patch,
            json!({"metadata": {"resourceVersion": "7"}, "spec": {
                "containers": [{"name": "c", "image": "a"}], "imagePullSecrets": null, "initContainers": null,
                "patchPodMetadata": null, "volumes": null, "customVersion": "v1",
            }})
        );
        let patch = undo(&set(&["b"]), &revision(1, "a", None)).expect("a patch");
        assert_eq!(patch["spec"].get("customVersion"), Some(&Value::Null), "v2 would name two revisions");
        let mut foreign = revision(1, "a", None);
        foreign.data.0 = Value::Null;
        assert_eq!(undo(&set(&["b"]), &foreign), Err(HistoryError::NoSpec("log-agent-1".to_owned())));
    }

    #[test]
    fn the_table_is_aligned_and_says_which_is_the_latest() {
        let (first, second) = (revision(1, "shop/agent:1", None), revision(2, "shop/agent:2", Some("v2")));
        let now = "2026-01-03T00:00:00Z".parse().expect("a time");
        assert_eq!(
            as_table(&set(&["b"]), &[&first, &second], now),
            "sidecarset.apps.kruise.io/log-agent\n\
             REVISION     NAME          CUSTOM-VERSION   AGE   IMAGES\n\
             1            log-agent-1   <none>           2d    c=shop/agent:1\n\
             2 (latest)   log-agent-2   v2               2d    c=shop/agent:2\n"
        );
    }

    #[test]
    fn one_revision_is_shown_whole() {
        let revisions = [revision(1, "a", None)];
        let text = print(&set(&["b"]), &revisions, Some(1), ObjectOutput::Text).expect("text");
        assert!(text.starts_with("sidecarset.apps.kruise.io/log-agent with revision #1\n"), "{text}");
        assert!(text.contains("image: a") && !text.contains("volumes"), "{text}");
        let json = print(&set(&["b"]), &revisions, None, ObjectOutput::Json).expect("text");
        assert!(json.contains("\"latest\": false"), "{json}");
    }
}
