//! Laws of validation: it answers for anything, in one order, and many stored sets are judged as each of them alone.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use sidecarset_core::api::{convert, decode};
use sidecarset_core::defaulting;
use sidecarset_core::field::FieldError;
use sidecarset_core::revision::Revisions;
use sidecarset_core::validation::{self, ClusterView, Options, StoredSets, Validation};

use crate::sidecarset_laws::{Draw, any_set};

const STRICT: Options =
    Options { strict: true, patch_metadata_defaults_allowed: true, allow_privileged: false };
const LENIENT: Options = Options { strict: false, ..STRICT };

fn judge(set: &Value, stored: &[Value], options: Options) -> Validation {
    let cluster = ClusterView {
        sets: &StoredSets::new(stored),
        revisions: &Revisions::new(stored),
        allow_list: stored.first(),
    };
    validation::create(set, &cluster, options)
}

fn is_in_order(findings: &[FieldError]) -> bool {
    findings.windows(2).all(|pair| pair[0] < pair[1])
}

fn paths(findings: &[FieldError]) -> BTreeSet<&str> {
    findings.iter().map(|finding| &*finding.path).collect()
}

fn select<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

/// A selector over few labels and values, so that many of them overlap.
fn selector() -> impl Strategy<Value = Value> {
    let key = || select(&["a", "b"]);
    let values = || prop::collection::btree_set(select(&["x", "y", "ALL"]), 1..3);
    let labels = prop::collection::btree_map(key(), select(&["x", "y", "ALL"]), 0..2);
    let expression = (key(), select(&["In", "NotIn", "Exists", "DoesNotExist"]), values());
    (labels, prop::collection::vec(expression, 0..3)).prop_map(|(labels, expressions)| {
        let expressions = expressions.into_iter().map(|(key, operator, values)| {
            let values = if operator.ends_with("In") { json!(values) } else { Value::Null };
            json!({"key": key, "operator": operator, "values": values})
        });
        let mut selector =
            json!({"matchLabels": labels, "matchExpressions": expressions.collect::<Vec<_>>()});
        if labels_and_expressions_are_empty(&selector) {
            selector["matchLabels"]["a"] = json!("x");
        }
        selector
    })
}

fn labels_and_expressions_are_empty(selector: &Value) -> bool {
    selector["matchLabels"] == json!({}) && selector["matchExpressions"] == json!([])
}

/// A set without findings of its own, with few names to fight over.
fn small_set() -> impl Strategy<Value = Value> {
    let names = |names: &[&'static str]| prop::collection::btree_set(select(names), 0..3);
    let volume = (select(&["v", "w"]), select(&["/1", "/2"]));
    let patch = (select(&["k", "l"]), select(&["Retain", "Overwrite", "MergePatchJson"]));
    (
        (selector(), prop::option::of(selector())),
        (names(&["c", "d", "e"]), names(&["i", "j", "k"])),
        (prop::option::of(volume), prop::option::of(patch)),
        prop::option::weighted(0.2, select(&["s1", "s2"])),
    )
        .prop_map(|((selector, namespaces), (containers, init), (volume, patch), base)| {
            let mk = |name| json!({"name": name, "image": "busybox:1.36"});
            let mut containers: Vec<Value> = containers.into_iter().map(mk).collect();
            if containers.is_empty() {
                containers.push(mk("f"));
            }
            let init: Vec<Value> = init.into_iter().map(mk).collect();
            let mut set = json!({"metadata": {"name": "new"}, "spec": {
                "selector": selector, "namespaceSelector": namespaces, "containers": containers,
                "initContainers": init, "updateStrategy": {"type": "NotUpdate"},
            }});
            if let Some((name, path)) = volume {
                set["spec"]["volumes"] = json!([{"name": name, "hostPath": {"path": path}}]);
            }
            if let Some((key, policy)) = patch {
                set["spec"]["patchPodMetadata"] = json!([{"annotations": {key: "1"}, "patchPolicy": policy}]);
            }
            if let Some(base) = base {
                set["metadata"]["annotations"] = json!({
                    "apps.kruise.io/sidecarset-canary": "true", "apps.kruise.io/sidecarset-base": base});
            }
            defaulting::apply(&mut set);
            set
        })
}

fn stored_sets() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(small_set(), 30..60).prop_map(|mut sets| {
        for (number, set) in sets.iter_mut().enumerate() {
            set["metadata"]["name"] = json!(format!("s{number}"));
        }
        sets
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_gets_an_answer_in_one_order(
        mut set in any_set(Draw::Wild),
        old in any_set(Draw::Wild),
        stored in prop::collection::vec(any_set(Draw::Wild), 0..4),
        strict in any::<bool>(),
    ) {
        let options = Options { strict, ..LENIENT };
        let revisions = Revisions::new(&stored);
        let sets = StoredSets::new(&stored);
        let cluster = ClusterView { sets: &sets, revisions: &revisions, allow_list: stored.first() };
        for answer in [validation::create(&set, &cluster, options), validation::update(&old, &set, &cluster, options)] {
            prop_assert!(is_in_order(&answer.findings) && is_in_order(&answer.warnings), "{answer:?}");
        }
        if set["apiVersion"] == decode::V1ALPHA1 && convert::convert(&mut set, decode::V1BETA1).is_err() {
            return Ok(());
        }
        defaulting::apply(&mut set);
        let answer = validation::update(&set, &set, &cluster, options);
        prop_assert!(is_in_order(&answer.findings), "{answer:?}");
    }

    #[test]
    fn strictness_turns_warnings_into_findings_and_loses_none(set in any_set(Draw::Decodable)) {
        let (lenient, strict) = (judge(&set, &[], LENIENT), judge(&set, &[], STRICT));
        let all = |answer: &Validation| {
            answer.findings.iter().chain(&answer.warnings).cloned().collect::<BTreeSet<_>>()
        };
        prop_assert_eq!(all(&lenient), all(&strict));
        prop_assert!(lenient.findings.iter().all(|finding| strict.findings.contains(finding)));
    }

    #[test]
    fn the_order_of_the_stored_sets_does_not_matter(set in small_set(), stored in stored_sets()) {
        let reversed: Vec<Value> = stored.iter().rev().cloned().collect();
        prop_assert_eq!(judge(&set, &stored, LENIENT), judge(&set, &reversed, LENIENT));
    }

    /// The index leaves out no set that is in conflict, and invents none.
    #[test]
    fn many_stored_sets_are_judged_as_each_alone(set in small_set(), stored in stored_sets()) {
        // A canary's base has to be there.
        let mut set = set;
        set["metadata"]["annotations"] = Value::Null;
        let many = judge(&set, &stored, LENIENT);
        let each: Vec<Validation> =
            stored.iter().map(|other| judge(&set, std::slice::from_ref(other), LENIENT)).collect();
        let denied: BTreeSet<&str> = each.iter().flat_map(|answer| paths(&answer.findings)).collect();
        let warned: BTreeSet<&str> = each.iter().flat_map(|answer| paths(&answer.warnings)).collect();
        let (found, warnings) = (paths(&many.findings), paths(&many.warnings));
        // One of several that agrees turns a finding about a volume or annotation into a warning (A-EDGE-7).
        prop_assert!(found.is_subset(&denied), "{many:?}");
        prop_assert!(denied.iter().all(|path| found.contains(path) || warnings.contains(path)), "{many:?}");
        prop_assert_eq!(found.contains("spec.containers"), denied.contains("spec.containers"));
        prop_assert!(warned.iter().all(|path| found.contains(path) || warnings.contains(path)), "{many:?}");
    }
}
