//! The rights that are asked about against those that the manifests give or need.

use std::collections::BTreeSet;

use super::super::object::{items, name, text};
use super::super::rights::{self, ControllerSettings};
use super::*;

/// Verb, group, resource, name (empty for all) and namespace (empty for kinds without).
type Call = [String; 5];

const NAMESPACE: &str = "sidecarset-system";
/// What is installed besides [`RIGHTS`].
const INSTALLED: &[&str] = &[
    include_str!("../../../../manifests/base/service-account.yaml"),
    include_str!("../../../../manifests/base/deployment.yaml"),
    include_str!("../../../../manifests/base/horizontal-pod-autoscaler.yaml"),
    include_str!("../../../../manifests/base/pod-disruption-budget.yaml"),
    include_str!("../../../../manifests/base/service.yaml"),
    include_str!("../../../../manifests/base/mutating-webhook-configuration.yaml"),
    include_str!("../../../../manifests/base/sidecarset-webhook-configurations.yaml"),
    include_str!("../../../../manifests/base/controller/service-account.yaml"),
    include_str!("../../../../manifests/base/controller/deployment.yaml"),
    include_str!("../../../../manifests/base/controller/pod-disruption-budget.yaml"),
    include_str!("../../../../manifests/base/controller/service.yaml"),
    include_str!("../../../../manifests/crd/crd.yaml"),
    include_str!("../../../../manifests/crd/namespace.yaml"),
];
/// What gives the webhook its rights.
const RIGHTS: &[&str] = &[
    include_str!("../../../../manifests/base/rbac.yaml"),
    include_str!("../../../../manifests/base/rbac-certificates.yaml"),
];
/// What gives the controller its rights.
const OF_CONTROLLER: &[&str] = &[include_str!("../../../../manifests/base/controller/rbac.yaml")];
/// What it needs besides to end marked sidecars.
const OF_TERMINATOR: &[&str] = &[include_str!("../../../../manifests/components/terminator/rbac.yaml")];
/// What people may be bound to.
const OF_PEOPLE: &[&str] = &[include_str!("../../../../manifests/base/rbac-people.yaml")];
/// Its Deployment.
const CONTROLLER: &str = include_str!("../../../../manifests/base/controller/deployment.yaml");

fn mk_target() -> Target {
    Target {
        namespace: NAMESPACE.to_owned(),
        service: "sidecarset-webhook".to_owned(),
        webhook_configurations: vec!["sidecarset".to_owned(), "sidecarset-api".to_owned()],
    }
}

fn documents(files: &[&str]) -> Vec<Value> {
    files.iter().flat_map(|file| serde_saphyr::from_multiple::<Value>(file).expect("YAML")).collect()
}

fn calls(rights: &[Right]) -> BTreeSet<Call> {
    let call = |right: &Right| {
        let Right { verb, group, resource, name, namespace, needed_for: _ } = right;
        [verb, group, resource, name.as_str(), namespace.as_str()].map(str::to_owned)
    };
    rights.iter().map(call).collect()
}

/// What a ClusterRole or Role gives, one call at a time.
fn given(role: &Value) -> BTreeSet<Call> {
    let mut given = BTreeSet::new();
    let words = |rule: &Value, list: &str| -> Vec<String> {
        items(rule, list).filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for rule in items(role, "/rules") {
        let mut names = words(rule, "/resourceNames");
        if names.is_empty() {
            names.push(String::new());
        }
        for group in words(rule, "/apiGroups") {
            for resource in words(rule, "/resources") {
                for verb in words(rule, "/verbs") {
                    given.extend(names.iter().map(|name| {
                        let namespace = text(role, "/metadata/namespace").to_owned();
                        [verb.clone(), group.clone(), resource.clone(), name.clone(), namespace]
                    }));
                }
            }
        }
    }
    given
}

#[test]
fn the_webhook_is_asked_for_the_rights_that_the_manifests_give() {
    let given: BTreeSet<Call> = documents(RIGHTS).iter().flat_map(given).collect();
    let asked = rights::to_run(&mk_target(), NAMESPACE, Some("sidecarset-webhook-certificate"));
    assert_eq!(calls(&asked), given);
    assert_eq!(asked.len(), given.len(), "nothing is asked twice");
}

#[test]
fn without_managed_certificates_their_rights_are_not_asked_for() {
    let given: BTreeSet<Call> = documents(&RIGHTS[..1]).iter().flat_map(given).collect();
    assert_eq!(calls(&rights::to_run(&mk_target(), NAMESPACE, None)), given);
}

#[test]
fn the_controller_is_asked_for_the_rights_that_the_manifests_give() {
    let mut controller = documents(&[CONTROLLER]).remove(0);
    let asked = rights::to_control(&mk_target(), ControllerSettings::of(&controller, NAMESPACE));
    let mut given: BTreeSet<Call> = documents(OF_CONTROLLER).iter().flat_map(given).collect();
    assert_eq!(calls(&asked), given);
    assert_eq!(asked.len(), given.len(), "nothing is asked twice");

    let args = controller.pointer_mut("/spec/template/spec/containers/0/args").expect("arguments");
    args.as_array_mut().expect("a list").push(json!("--terminator"));
    let asked = rights::to_control(&mk_target(), ControllerSettings::of(&controller, NAMESPACE));
    given.extend(documents(OF_TERMINATOR).iter().flat_map(self::given));
    assert_eq!(calls(&asked), given);
}

/// What the roles of the install give, and what its bindings refer to.
#[test]
fn whoever_installs_is_asked_for_the_rights_that_he_gives_away() {
    let objects = documents(&[RIGHTS, OF_CONTROLLER, OF_PEOPLE].concat());
    let bind = |object: &Value| {
        let plural = text(object, "/roleRef/kind").to_ascii_lowercase() + "s";
        let (role, namespace) = (text(object, "/roleRef/name"), text(object, "/metadata/namespace"));
        ["bind", "rbac.authorization.k8s.io", &plural, role, namespace].map(str::to_owned)
    };
    let unlimited = rights::to_give_without_limit(&mk_target());
    let is_binding = |object: &&Value| text(object, "/kind").ends_with("Binding");
    let needed: BTreeSet<Call> = objects.iter().filter(is_binding).map(bind).collect();
    let is_bind = |right: &&Right| right.verb == "bind";
    assert_eq!(calls(&unlimited.iter().filter(is_bind).cloned().collect::<Vec<_>>()), needed);
    let places = |rights: &[Right]| -> BTreeSet<String> {
        rights.iter().filter(|right| right.verb == "escalate").map(|right| right.namespace.clone()).collect()
    };
    assert_eq!(places(&unlimited), ["", "default", NAMESPACE].map(str::to_owned).into());

    let asked = |may: fn(&Right) -> bool| -> BTreeSet<Call> {
        let answer = |right: &Right| Asked { right: right.clone(), allowed: Ok(may(right)) };
        let answers: Vec<Asked> = unlimited.iter().map(answer).collect();
        calls(&rights::to_give(&mk_target(), &answers))
    };
    let all: BTreeSet<Call> = objects.iter().flat_map(given).collect();
    let of = |namespace: &str| -> BTreeSet<Call> {
        all.iter().filter(|call| call[4] == namespace).cloned().collect()
    };
    assert_eq!(asked(|_| false), all);
    assert_eq!(asked(|_| true), BTreeSet::new());
    assert_eq!(asked(|right| right.namespace != "default"), of("default"));
    assert_eq!(asked(|right| right.verb == "bind" || right.namespace != NAMESPACE), of(NAMESPACE));
    // To make a role that nobody is bound to, the right to bind is not needed.
    let bound: BTreeSet<Call> = documents(&[RIGHTS, OF_CONTROLLER].concat()).iter().flat_map(given).collect();
    assert_eq!(asked(|right| right.verb == "escalate"), bound);
}

#[test]
fn whoever_installs_is_asked_for_the_rights_to_create_what_is_installed() {
    let mut objects = documents(INSTALLED);
    objects.extend(documents(&[RIGHTS, OF_CONTROLLER, OF_PEOPLE].concat()));
    let create = |object: &Value| {
        let group = text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
        let plural = text(object, "/kind").to_ascii_lowercase() + "s";
        ["create", group, &plural, "", text(object, "/metadata/namespace")].map(str::to_owned)
    };
    let needed: BTreeSet<Call> = objects.iter().map(create).collect();
    assert!(objects.iter().all(|object| !name(object).is_empty()), "each is an object");
    assert_eq!(calls(&rights::to_install(&mk_target())), needed);
}
