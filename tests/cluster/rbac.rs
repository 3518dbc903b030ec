//! The rights of the service accounts: what they have, all of it, and what they must not have.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::control_plane::ControlPlane;
use crate::injected::items;
use crate::kubectl::list;
use crate::packages::{Helm, NAMESPACE, kustomized};

const WEBHOOK: &str = "system:serviceaccount:sidecarset-system:sidecarset-webhook";
const CONTROLLER: &str = "system:serviceaccount:sidecarset-system:sidecarset-controller";
const TEST: &str = "system:serviceaccount:sidecarset-system:sidecarset-test";

/// Rights in the whole cluster.
const EVERYWHERE: [&str; 4] = [
    "get,list,watch namespaces",
    "get,list,watch sidecarsets.apps.kruise.io",
    "get,list,patch,watch mutatingwebhookconfigurations,validatingwebhookconfigurations.admissionregistration.k8s.io sidecarset,sidecarset-api",
    "get,list,patch,watch customresourcedefinitions.apiextensions.k8s.io sidecarsets.apps.kruise.io",
];
/// Rights in our own namespace, besides.
const AT_HOME: [&str; 4] = [
    "list,watch controllerrevisions.apps",
    "list,watch configmaps kruise-configuration",
    "create secrets",
    "get,list,update,watch secrets sidecarset-webhook-certificate",
];
/// Rights where Events of cluster-scoped objects are kept, besides.
const IN_DEFAULT: [&str; 1] = ["create,patch events.events.k8s.io"];

/// Rights of the controller in the whole cluster.
const CONTROLLER_EVERYWHERE: [&str; 8] = [
    "list,watch sidecarsets.apps.kruise.io",
    "patch sidecarsets/status.apps.kruise.io",
    "update sidecarsets/finalizers.apps.kruise.io",
    "get,list,patch,watch pods",
    "patch pods/status",
    "list,watch namespaces",
    "create,patch events.events.k8s.io",
    "get mutatingwebhookconfigurations.admissionregistration.k8s.io sidecarset",
];
/// Rights of the controller in our own namespace, besides.
const CONTROLLER_AT_HOME: [&str; 4] = [
    "create,delete,get,list,patch,watch controllerrevisions.apps",
    "create leases.coordination.k8s.io",
    "get,update leases.coordination.k8s.io sidecarset-controller",
    "list endpointslices.discovery.k8s.io",
];

/// Rights of what `helm test` runs, in the whole cluster.
const TEST_EVERYWHERE: [&str; 5] = [
    "list mutatingwebhookconfigurations,validatingwebhookconfigurations.admissionregistration.k8s.io",
    "list deployments.apps kruise-controller-manager",
    "get customresourcedefinitions.apiextensions.k8s.io sidecarsets.apps.kruise.io",
    "get namespaces sidecarset-system",
    "create subjectaccessreviews.authorization.k8s.io",
];
/// The same in our own namespace, besides.
const TEST_AT_HOME: [&str; 3] = [
    "get deployments.apps sidecarset-controller,sidecarset-webhook",
    "get services sidecarset-webhook",
    "list endpointslices.discovery.k8s.io",
];

/// Asked of the API server, rule by rule: nothing is missing and nothing is there that is not in the lists above.
#[test]
#[ignore = "needs a control plane: make test"]
fn the_accounts_have_these_rights_and_no_others() {
    let plane = installed();
    for (account, everywhere, own) in [
        (WEBHOOK, &EVERYWHERE[..], [&AT_HOME[..], &IN_DEFAULT[..], &[]]),
        (CONTROLLER, &CONTROLLER_EVERYWHERE[..], [&CONTROLLER_AT_HOME[..], &[], &[]]),
        (TEST, &TEST_EVERYWHERE[..], [&TEST_AT_HOME[..], &[], &[]]),
    ] {
        for (namespace, own) in [NAMESPACE, "default", "kube-system"].into_iter().zip(own) {
            let expected: BTreeSet<String> =
                everywhere.iter().chain(own).map(|rule| (*rule).to_owned()).collect();
            assert_eq!(rights(plane, account, namespace), expected, "{account} in {namespace}");
        }
    }
}

/// What would make a stolen token worth having.
#[test]
#[ignore = "needs a control plane: make test"]
fn the_webhook_may_not_do_harm() {
    assert_denied(
        WEBHOOK,
        &[
            (NAMESPACE, "list secrets"),
            (NAMESPACE, "get secret/sidecarset-serving-cert"),
            (NAMESPACE, "delete secret/sidecarset-webhook-certificate"),
            (NAMESPACE, "create deployments.apps"),
            (NAMESPACE, "get configmap/any"),
            (NAMESPACE, "update controllerrevisions.apps"),
            ("kube-system", "create secrets"),
            ("default", "create secrets"),
            ("default", "get pods"),
            ("default", "list pods"),
            ("default", "list events.events.k8s.io"),
            ("default", "patch mutatingwebhookconfiguration/other"),
            ("default", "list mutatingwebhookconfigurations"),
            ("default", "create mutatingwebhookconfigurations"),
            ("default", "patch crd/other"),
            ("default", "update sidecarsets.apps.kruise.io"),
            ("default", "patch namespaces"),
            ("default", "impersonate users"),
            ("default", "create serviceaccounts --subresource=token"),
        ],
    );
}

#[test]
#[ignore = "needs a control plane: make test"]
fn the_controller_may_not_do_harm() {
    assert_denied(
        CONTROLLER,
        &[
            (NAMESPACE, "list secrets"),
            (NAMESPACE, "get secret/sidecarset-webhook-certificate"),
            (NAMESPACE, "update leases.coordination.k8s.io/other"),
            ("default", "get leases.coordination.k8s.io/sidecarset-controller"),
            ("default", "create controllerrevisions.apps"),
            ("default", "patch sidecarsets.apps.kruise.io"),
            ("default", "delete pods"),
            ("default", "create pods"),
            ("default", "create pods --subresource=eviction"),
            ("default", "create pods --subresource=exec"),
            ("default", "get nodes"),
            ("default", "create containerrecreaterequests.apps.kruise.io"),
            ("default", "patch namespaces"),
            ("default", "patch mutatingwebhookconfiguration/sidecarset"),
            ("default", "create serviceaccounts --subresource=token"),
        ],
    );
}

/// Each question is a verb, a resource and, if need be, a subresource.
#[track_caller]
fn assert_denied(account: &str, questions: &[(&str, &str)]) {
    let plane = installed();
    for (namespace, question) in questions {
        let (verb, what) = question.split_once(' ').unwrap();
        let (what, sub) = what.split_once(' ').unwrap_or((what, "--subresource="));
        let ask = ["auth", "can-i", verb, what, sub, "--as", account];
        let output = plane.kubectl.in_namespace(namespace).output(&ask, "").unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            answer.trim(),
            "no",
            "{question} in {namespace}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// A control plane with the manifests really applied, and the account of `helm test`.
fn installed() -> &'static ControlPlane {
    static PLANE: std::sync::OnceLock<Result<ControlPlane, String>> = std::sync::OnceLock::new();
    let plane = PLANE.get_or_init(|| {
        let plane = ControlPlane::without_controllers("rights")?;
        let apply = ["apply", "--server-side", "--filename=-"];
        let mut objects = kustomized(&plane.kubectl);
        objects.extend(Helm::new(&plane.kubectl).test_hooks().0);
        plane.kubectl.in_namespace("").run_with_input(&apply, &list(&objects))?;
        Ok(plane)
    });
    plane.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// The rules that the API server finds for the account in a namespace, one line each, without what everyone may.
fn rights(plane: &ControlPlane, account: &str, namespace: &str) -> BTreeSet<String> {
    let review = r#"{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "NAMESPACE"}}"#
        .replace("NAMESPACE", namespace);
    let ask = ["create", "--validate=false", "--as", account, "-o", "json", "-f", "-"];
    let answer: Value = serde_json::from_str(&plane.kubectl.run_with_input(&ask, &review).unwrap()).unwrap();
    assert_eq!(answer["status"]["incomplete"], false, "{answer}");
    items(&answer["status"]["resourceRules"])
        .map(|rule| {
            let texts = |key: &str| {
                let mut texts: Vec<&str> =
                    rule[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                texts.sort_unstable();
                texts.join(",")
            };
            let group = texts("apiGroups");
            let dot = if group.is_empty() { "" } else { "." };
            format!("{} {}{dot}{group} {}", texts("verbs"), texts("resources"), texts("resourceNames"))
                .trim()
                .to_owned()
        })
        .filter(|rule| !rule.contains("selfsubject"))
        .collect()
}
