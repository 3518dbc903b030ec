//! The Pod's condition `SidecarSetUpgradable`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::pod::{PodFacts, Upgradable};
use super::update::PlanError;
use crate::api::json::write_object;
use crate::api::keys;
use crate::injection::hash_annotation::format_rfc3339;

/// Names of all SidecarSets that exist; `None` if that is not known, then nothing is pruned.
pub type KnownSets<'a> = Option<&'a BTreeSet<String>>;

/// The strategic merge patch of `/status` that says whether a Pod can take a set's change in place; `None` if the Pod says so
/// already. The patch is bound to the Pod as it was seen, because two sets may speak about one Pod. Names of sets that do not
/// exist any more are left out.
///
/// # Errors
///
/// The message that is there is no JSON object of booleans.
///
/// Rules: C-COND-1…4, C-RUST-8, C-BUG-9, C-BUG-10.
pub fn set_upgradable(
    pod: &PodFacts,
    set: &str,
    can: bool,
    known: KnownSets<'_>,
    now_unix: i64,
) -> Result<Option<Value>, PlanError> {
    let old = pod.upgradable.as_deref();
    let new = upgradable(old, set, can, known, now_unix)?;
    Ok(new.map(|new| patch(pod, new, now_unix)))
}

fn patch(pod: &PodFacts, condition: Upgradable, now_unix: i64) -> Value {
    let Upgradable { status, reason, message, transition_unix } = condition;
    let mut time = String::new();
    format_rfc3339(transition_unix.unwrap_or(now_unix), &mut time);
    json!({
        "metadata": {"uid": pod.uid, "resourceVersion": pod.resource_version},
        "status": {"conditions": [{
            "type": keys::CONDITION_UPGRADABLE, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": time,
        }]},
    })
}

/// The condition after `message[set] = can`; `None` if it stays as it is.
fn upgradable(
    old: Option<&Upgradable>,
    set: &str,
    can: bool,
    known: KnownSets<'_>,
    now_unix: i64,
) -> Result<Option<Upgradable>, PlanError> {
    let text = old.map(|old| &*old.message).filter(|message| !message.is_empty());
    let mut sets: BTreeMap<String, bool> = match text {
        None => BTreeMap::new(),
        Some(text) => serde_json::from_str(text).map_err(|_| PlanError::Condition(text.to_owned()))?,
    };
    sets.insert(set.to_owned(), can);
    if let Some(known) = known {
        sets.retain(|name, _| name == set || known.contains(name));
    }
    let new = renewed(old, &sets, now_unix);
    Ok((old != Some(&new)).then_some(new))
}

/// The condition with these entries; its time moves only if the status does.
fn renewed(old: Option<&Upgradable>, sets: &BTreeMap<String, bool>, now_unix: i64) -> Upgradable {
    let (status, reason) = if sets.values().all(|can| *can) {
        ("True", "AllSidecarsetUpgradable")
    } else {
        ("False", "UpdateImmutableField")
    };
    let mut message = String::new();
    write_object(&mut message, sets.iter().map(|(name, can)| (name.as_str(), can)), |out, can: &bool| {
        out.push_str(if *can { "true" } else { "false" });
    });
    let kept = old.filter(|old| *old.status == *status);
    Upgradable {
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        transition_unix: kept.map_or(Some(now_unix), |old| old.transition_unix),
    }
}

/// The patch that takes the `false` of sets that do not exist any more out of a Pod's condition, which would stay for ever; `None`
/// if there is none. A `true` does no harm and goes with the next change. To be asked for every Pod after a set was deleted, and
/// at each resync.
///
/// Rule: C-BUG-10.
#[must_use]
pub fn prune(pod: &PodFacts, known: &BTreeSet<String>, now_unix: i64) -> Option<Value> {
    let message = &pod.upgradable.as_ref()?.message;
    let mut sets: BTreeMap<String, bool> = serde_json::from_str(message).ok()?;
    let before = sets.len();
    sets.retain(|name, can| *can || known.contains(name));
    let old = pod.upgradable.as_deref();
    (sets.len() < before).then(|| patch(pod, renewed(old, &sets, now_unix), now_unix))
}

/// Whether the Pod says that it cannot take the set's change. Rule: C-COND-1.
#[must_use]
pub fn says_no(pod: &PodFacts, set: &str) -> bool {
    let Some(condition) = pod.upgradable.as_ref().filter(|condition| *condition.status != *"True") else {
        return false;
    };
    let sets = serde_json::from_str::<BTreeMap<String, bool>>(&condition.message);
    sets.is_ok_and(|sets| sets.get(set) == Some(&false))
}

/// Whether the Pod says already that it cannot take the set's change: the cheap look before [`set_upgradable`].
///
/// Rule: C-BUG-37.
pub(super) fn is_marked(pod: &PodFacts, set: &str, known: KnownSets<'_>) -> bool {
    let Some(condition) = &pod.upgradable else { return false };
    let Ok(sets) = serde_json::from_str::<BTreeMap<String, bool>>(&condition.message) else { return false };
    let is_pruned = known.is_none_or(|known| sets.keys().all(|name| name == set || known.contains(name)));
    sets.get(set) == Some(&false) && is_pruned
}

/// Whether the condition says nothing of an upgrade of ours, or what was true before it: the write after the upgrade was lost with the
/// process that had to make it. What was written later stays (C-BUG-40).
///
/// Rules: C-COND-5, C-UPD-20, C-RUST-6.
pub(super) fn lacks_upgrade(pod: &PodFacts, set: &str) -> bool {
    let Some(condition) = &pod.upgradable else { return true };
    let Ok(sets) = serde_json::from_str::<BTreeMap<String, bool>>(&condition.message) else { return false };
    match sets.get(set) {
        None => true,
        Some(true) => false,
        Some(false) => condition.transition_unix < pod.records.updated_unix(set),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(message: &str) -> Upgradable {
        let is_false = message.contains("false");
        let (status, reason) =
            if is_false { ("False", "UpdateImmutableField") } else { ("True", "AllSidecarsetUpgradable") };
        Upgradable {
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            transition_unix: Some(5),
        }
    }

    /// Rows C-T-COND-1 to 5. Rules: C-COND-1, C-COND-2, C-COND-3, C-COND-6, C-BUG-10.
    #[test]
    fn the_condition_follows_its_entries() {
        let cases = [
            (None, "a", true, Some((r#"{"a":true}"#, 7))),
            (Some(r#"{"a":true}"#), "b", false, Some((r#"{"a":true,"b":false}"#, 7))),
            (Some(r#"{"a":true,"b":false}"#), "a", true, None),
            (Some(r#"{"a":true,"b":false}"#), "b", true, Some((r#"{"a":true,"b":true}"#, 7))),
            (Some(r#"{"a":true}"#), "c", true, Some((r#"{"a":true,"c":true}"#, 5))),
        ];
        for (old, set, can, expected) in cases {
            let old = old.map(condition);
            let new = upgradable(old.as_ref(), set, can, None, 7).unwrap();
            let expected =
                expected.map(|(message, at)| Upgradable { transition_unix: Some(at), ..condition(message) });
            assert_eq!(new, expected, "{set} {can}");
        }
        let broken = Upgradable { message: "not json".into(), ..condition("") };
        let error = upgradable(Some(&broken), "a", true, None, 7).unwrap_err();
        assert!(error.to_string().contains("\"not json\""), "{error}");
        let known = BTreeSet::from(["b".to_owned()]);
        let pruned = upgradable(Some(&condition(r#"{"a":false,"b":true}"#)), "b", true, Some(&known), 7);
        assert_eq!(
            pruned.unwrap(),
            Some(Upgradable { transition_unix: Some(7), ..condition(r#"{"b":true}"#) })
        );
    }
}
