//! One install that nothing is wrong with, and what each check makes of what can go wrong.

mod calls;
mod cluster;
mod installed;
mod packaged;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use sidecarset_core::api::keys;

use super::facts::{Asked, Facts, Fetched, Gifts, Phase, Right, Target, Version};
use super::trial::{self, Answer, Calls, PodTrial, SetTrial};
use super::{Finding, Level, judge};

/// 1 June 2030, when the certificate is valid.
const NOW: i64 = 1_906_502_400;
const DAY: i64 = 24 * 3600;

/// A CA of this name with a serving certificate for `host`: CA bundle in base64, and the certificate as PEM.
fn mk_certificate(ca: &str, host: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, ca);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(2040, 1, 1);
    let authority = params.self_signed(&key).expect("a CA");
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2029, 1, 1);
    params.not_after = date_time_ymd(2030, 9, 1);
    let leaf = params.signed_by(&KeyPair::generate().expect("a key"), &issuer).expect("a certificate");
    (STANDARD.encode(authority.pem()), leaf.pem())
}

fn mk_hook(name: &str, resource: &str, path: &str, bundle: &str) -> Value {
    json!({
        "name": name, "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 10,
        "clientConfig": {
            "caBundle": bundle,
            "service": {"namespace": "hooks", "name": "hook", "port": 443, "path": path},
        },
        "rules": [{"resources": [resource]}],
    })
}

/// An install in namespace `hooks` with Service `hook`, and ControllerRevisions in `old`.
fn mk_facts() -> Facts {
    let (bundle, leaf) = mk_certificate("ca", "hook.hooks.svc");
    let mut pods = mk_hook("mpod.sidecarset.kruise.io", "pods", "/mutate-pod", &bundle);
    pods["namespaceSelector"] = json!({"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "hooks"]},
    ]});
    let defaulting = mk_hook("m", "sidecarsets", "/mutate-apps-kruise-io-sidecarset", &bundle);
    let validation = mk_hook("v", "sidecarsets", "/validate-apps-kruise-io-sidecarset", &bundle);
    let configuration = |name: &str, hook: Value| json!({"metadata": {"name": name}, "webhooks": [hook]});
    let namespace =
        |name: &str| json!({"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}});
    Facts {
        target: Target {
            namespace: "hooks".to_owned(),
            service: "hook".to_owned(),
            webhook_configurations: vec!["pods".to_owned(), "sets".to_owned()],
        },
        phase: Phase::After,
        now_unix: NOW,
        version: Version { git_version: "v1.33.1".to_owned(), minor: 33 },
        admission_versions: vec!["v1".to_owned()],
        set_versions: vec!["v1beta1".to_owned(), "v1alpha1".to_owned()],
        definition: Fetched::Found(mk_definition(&bundle)),
        mutating: Fetched::Found(vec![configuration("pods", pods), configuration("sets", defaulting)]),
        validating: Fetched::Found(vec![configuration("sets", validation)]),
        kruise_managers: Fetched::Found(Vec::new()),
        caller_rights: vec![mk_asked("create", Some(true))],
        caller_gifts: Gifts { unlimited: vec![mk_asked("escalate", Some(true))], held: Vec::new() },
        webhook_rights: vec![mk_asked("list", Some(true)), mk_asked("watch", Some(true))],
        controller_rights: vec![mk_asked("patch", Some(true))],
        namespace: Fetched::Found(namespace("hooks")),
        revision_namespace: ("old".to_owned(), Fetched::Found(namespace("old"))),
        deployment: Fetched::Found(json!({"spec": {"replicas": 3}, "status": {"availableReplicas": 3}})),
        controller: Fetched::Found(mk_controller(&["controller", "--revision-namespace=old"])),
        sets: Fetched::Found(12),
        service: Fetched::Found(json!({"spec": {"ports": [{"port": 443}]}})),
        endpoint_slices: Fetched::Found(vec![
            json!({"endpoints": [{"conditions": {"ready": true}}, {"conditions": {"ready": false}}]}),
        ]),
        serving: ("pair".to_owned(), Fetched::Found(leaf)),
        pod_trial: Some(PodTrial {
            namespace: "shop".to_owned(),
            namespace_labels: json!({"kubernetes.io/metadata.name": "shop"}),
            labels: json!({(trial::LABEL): "none"}),
            answer: Answer::Stored(json!({})),
            calls: Calls::Answered,
        }),
        set_trial: Some(SetTrial {
            good: Answer::Stored(json!({"metadata": {"annotations": {(keys::HASH): "h"}}})),
            bad: Answer::Refused(422, "denied".to_owned()),
        }),
    }
}

/// The Deployment of a controller with this command line.
fn mk_controller(args: &[&str]) -> Value {
    json!({
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"args": args}]}}},
        "status": {"availableReplicas": 2},
    })
}

fn mk_definition(bundle: &str) -> Value {
    json!({
        "metadata": {"name": "sidecarsets.apps.kruise.io"},
        "spec": {
            "versions": [
                {"name": "v1alpha1", "served": true, "storage": false}, {"name": "v1beta1", "served": true, "storage": true},
            ],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"],
                "clientConfig": {
                    "caBundle": bundle, "service": {"namespace": "hooks", "name": "hook", "path": "/convert"},
                },
            }},
        },
        "status": {
            "storedVersions": ["v1beta1"],
            "conditions": [{"type": "Established", "status": "True"}, {"type": "NamesAccepted", "status": "True"}],
        },
    })
}

/// `None`: the API server did not tell.
fn mk_asked(verb: &'static str, allowed: Option<bool>) -> Asked {
    let allowed = allowed.ok_or_else(|| "no".to_owned());
    let right = Right { verb, resource: "sidecarsets", needed_for: "reading the sets", ..Right::default() };
    Asked { right, allowed }
}

/// The JSON at a pointer in an object that was found.
fn at<'f>(fact: &'f mut Fetched<Value>, pointer: &str) -> &'f mut Value {
    match fact {
        Fetched::Found(object) => object.pointer_mut(pointer).expect("it is there"),
        Fetched::Absent | Fetched::Refused(_) => panic!("not found"),
    }
}

/// The webhook of a configuration, by its place in the list.
fn hook(list: &mut Fetched<Vec<Value>>, index: usize) -> &mut Value {
    match list {
        Fetched::Found(list) => list[index].pointer_mut("/webhooks/0").expect("a webhook"),
        Fetched::Absent | Fetched::Refused(_) => panic!("not found"),
    }
}

fn trial_of(facts: &mut Facts) -> &mut PodTrial {
    facts.pod_trial.as_mut().expect("a trial")
}

/// What is changed, which check tells, how bad it is, and what it says: `found`, `fix`.
type Row = (fn(&mut Facts), &'static str, Level, &'static str, &'static str);

#[track_caller]
fn assert_rows(rows: &[Row]) {
    for (number, (change, check, level, found, fix)) in rows.iter().enumerate() {
        let mut facts = mk_facts();
        change(&mut facts);
        let findings = judge(&facts);
        let told: Vec<&Finding> = findings.iter().filter(|finding| finding.check == *check).collect();
        let [told] = told[..] else { panic!("row {number}: {check} is not told once: {findings:#?}") };
        assert_eq!(told.level, *level, "row {number}: {told:#?}");
        assert!(told.found.contains(found), "row {number}: {found:?} is not in {told:#?}");
        assert!(told.fix.contains(fix), "row {number}: {fix:?} is not in {told:#?}");
        assert_eq!(told.fix.is_empty(), told.level == Level::Ok, "what is not well has a fix: {told:#?}");
    }
}

#[test]
fn a_good_install_has_nothing_to_tell() {
    let findings = judge(&mk_facts());
    let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.level != Level::Ok).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert_eq!(findings.len(), 21);
}

#[test]
fn every_check_has_a_section_in_the_docs() {
    let page = include_str!("../../../docs/troubleshoot.md");
    let mut checks: Vec<&str> = judge(&mk_facts()).iter().map(|finding| finding.check).collect();
    checks.push("install-rights");
    for check in checks {
        assert!(page.contains(&format!("\n### {check}\n")), "docs/troubleshoot.md has no section {check}");
    }
}
