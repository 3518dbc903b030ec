//! What the cluster is, before and after the install: API server, definition, other managers, rights to install.

use super::*;

#[test]
fn the_api_server_and_the_definition() {
    use Level::{Fail, Ok, Skipped, Warn};
    assert_rows(&[
        (
            |f| f.version = Version { git_version: "v1.27.9".into(), minor: 27 },
            "kubernetes",
            Fail,
            "v1.27.9 is older than 1.28",
            "1.28",
        ),
        (
            |f| f.version = Version { git_version: "v1.28.0".into(), minor: 28 },
            "kubernetes",
            Warn,
            "v1.28.0 is older than 1.30: matchConditions",
            "upgrade to 1.30",
        ),
        (
            |f| f.version = Version { git_version: "v1.29.4".into(), minor: 29 },
            "kubernetes",
            Warn,
            "beta",
            "AdmissionWebhookMatchConditions",
        ),
        (
            |f| f.version = Version { git_version: "v1.30.0".into(), minor: 30 },
            "kubernetes",
            Ok,
            "v1.30.0",
            "",
        ),
        (
            |f| f.version = Version { git_version: "v1.38.0".into(), minor: 38 },
            "kubernetes",
            Warn,
            "newer than 1.37",
            "newer",
        ),
        (
            |f| f.admission_versions = vec!["v1beta1".into()],
            "kubernetes",
            Fail,
            "in the versions: v1beta1",
            "v1 has to be",
        ),
        (
            |f| f.definition = Fetched::Absent,
            "crd",
            Fail,
            "there is no sidecarsets",
            "sidecarset crd | kubectl apply",
        ),
        (
            |f| f.definition = Fetched::Refused("no".into()),
            "crd",
            Skipped,
            "cannot read the definition",
            "account",
        ),
        (
            |f| *at(&mut f.definition, "/status/conditions/0/status") = json!("False"),
            "crd",
            Fail,
            "Established",
            "describe",
        ),
        (
            |f| *at(&mut f.definition, "/spec/versions/0/served") = json!(false),
            "crd",
            Fail,
            "served are v1beta1,",
            "apply",
        ),
        (|f| f.set_versions.truncate(1), "crd", Fail, "served are v1alpha1, v1beta1", "apply"),
        (
            |f| *at(&mut f.definition, "/spec/versions/0/storage") = json!(true),
            "crd",
            Fail,
            "stored is v1alpha1, v1",
            "apply",
        ),
        (
            |f| *at(&mut f.definition, "/status/storedVersions") = json!(["v1alpha1", "v1beta1"]),
            "crd",
            Warn,
            "storedVersions is v1alpha1, v1beta1",
            "write every set",
        ),
        (
            |f| *at(&mut f.definition, "/spec/conversion") = json!({"strategy": "None"}),
            "conversion",
            Fail,
            "\"None\"",
            "--service hooks/hook",
        ),
        (
            |f| {
                *at(&mut f.definition, "/spec/conversion/webhook/clientConfig/service/name") =
                    json!("kruise-webhook-service")
            },
            "conversion",
            Fail,
            "by Service hooks/kruise-webhook-service",
            "--service hooks/hook",
        ),
        (
            |f| {
                *at(&mut f.definition, "/spec/conversion/webhook/conversionReviewVersions") =
                    json!(["v1beta1"])
            },
            "conversion",
            Fail,
            "v1 is not in it",
            "apply",
        ),
        (
            |f| {
                *at(&mut f.definition, "/spec/conversion/webhook/clientConfig") =
                    json!({"url": "https://x/convert"})
            },
            "conversion",
            Warn,
            "by the URL",
            "apply",
        ),
        (
            |f| {
                *at(&mut f.definition, "/metadata") = json!({"annotations":
            {"meta.helm.sh/release-name": "kruise", "meta.helm.sh/release-namespace": "other"}})
            },
            "crd-owner",
            Warn,
            "Helm release kruise in namespace other",
            "do not uninstall it",
        ),
        (
            |f| {
                *at(&mut f.definition, "/metadata") = json!({"annotations": {"meta.helm.sh/release-name": "kruise",
            "meta.helm.sh/release-namespace": "other", "helm.sh/resource-policy": "keep"}})
            },
            "crd-owner",
            Ok,
            "",
            "",
        ),
        (
            |f| {
                *at(&mut f.definition, "/metadata") = json!({"annotations": {"meta.helm.sh/release-name": "kruise",
                "meta.helm.sh/release-namespace": "other", "helm.sh/resource-policy": "keep"}, "managedFields": [{
                    "manager": "kubectl-annotate",
                    "fieldsV1": {"f:metadata": {"f:annotations": {"f:helm.sh/resource-policy": {}}}},
                }]})
            },
            "crd-owner",
            Warn,
            "Helm release kruise in namespace other",
            "do not uninstall it",
        ),
        (
            |f| {
                *at(&mut f.definition, "/metadata") = json!({"annotations":
            {"meta.helm.sh/release-name": "ours", "meta.helm.sh/release-namespace": "hooks"}})
            },
            "crd-owner",
            Ok,
            "",
            "",
        ),
    ]);
}

#[test]
fn before_the_install() {
    use Level::{Fail, Ok, Skipped, Warn};
    assert_rows(&[
        (
            |f| (f.phase, f.definition) = (Phase::Before, Fetched::Absent),
            "crd",
            Ok,
            "the install brings it",
            "",
        ),
        (
            |f| {
                f.phase = Phase::Before;
                *at(&mut f.definition, "/spec/versions/0/served") = json!(false);
            },
            "crd",
            Warn,
            "served are v1beta1",
            "nothing to do",
        ),
        (
            |f| {
                f.phase = Phase::Before;
                *at(&mut f.definition, "/spec/conversion/webhook/clientConfig/service/name") =
                    json!("kruise-webhook-service");
            },
            "crd-owner",
            Warn,
            "OpenKruise's Service hooks/kruise-webhook-service",
            "docs/migration.md",
        ),
        (|f| f.phase = Phase::Before, "install-rights", Ok, "you may do all 1", ""),
        (
            |f| {
                f.phase = Phase::Before;
                f.caller_rights.push(mk_asked("patch", Some(false)));
            },
            "install-rights",
            Fail,
            "you may not patch sidecarsets (for reading the sets)",
            "cluster-admin",
        ),
        (
            |f| {
                f.phase = Phase::Before;
                f.caller_rights = vec![mk_asked("patch", None)];
            },
            "install-rights",
            Skipped,
            "cannot ask what you may do: no",
            "subjectaccessreviews",
        ),
        (
            |f| {
                f.phase = Phase::Before;
                f.caller_gifts.unlimited = vec![mk_asked("escalate", Some(false))];
                f.caller_gifts.held = vec![
                    mk_asked("get", Some(true)),
                    mk_asked("list", Some(false)),
                    mk_asked("watch", Some(false)),
                ];
            },
            "install-rights",
            Fail,
            "a right which you lack, as the install has to: list sidecarsets (for reading the sets)",
            "cluster-admin, or get this right, or the right to escalate sidecarsets",
        ),
        (
            |f| {
                f.phase = Phase::Before;
                f.caller_gifts.unlimited = vec![mk_asked("escalate", Some(false))];
                f.caller_gifts.held = vec![mk_asked("get", Some(true))];
            },
            "install-rights",
            Ok,
            "you may do all 1",
            "",
        ),
        (
            |f| {
                f.phase = Phase::Before;
                f.caller_gifts.unlimited = vec![mk_asked("escalate", None)];
                f.caller_gifts.held = vec![mk_asked("get", Some(true)), mk_asked("list", None)];
            },
            "install-rights",
            Skipped,
            "cannot ask what you may do: no",
            "subjectaccessreviews",
        ),
        (
            |f| {
                f.phase = Phase::Before;
                *hook(&mut f.mutating, 0) = mk_hook("x", "pods", "/mutate-pod", "");
                hook(&mut f.mutating, 0)["name"] = json!("mpod.kb.io");
                f.target.webhook_configurations = vec!["sets".into()];
            },
            "other-manager",
            Warn,
            "mpod.kb.io of pods",
            "docs/migration.md",
        ),
    ]);
    let mut facts = mk_facts();
    facts.phase = Phase::Before;
    let checks: Vec<&str> = judge(&facts).iter().map(|finding| finding.check).collect();
    assert_eq!(checks, ["kubernetes", "crd", "crd-owner", "other-manager", "install-rights"]);
}

#[test]
fn another_manager() {
    use Level::{Fail, Ok, Warn};
    /// A further webhook that the API server asks.
    fn add(facts: &mut Facts, name: &str, service: &str, path: &str, resource: &str) {
        let mut hook = mk_hook(name, resource, path, "");
        hook["clientConfig"]["service"]["name"] = json!(service);
        if let Fetched::Found(list) = &mut facts.mutating {
            list.push(json!({"metadata": {"name": "theirs"}, "webhooks": [hook]}));
        }
    }
    assert_rows(&[
        (
            |f| add(f, "mpod.kb.io", "kruise-webhook-service", "/mutate-pod", "pods"),
            "other-manager",
            Fail,
            "mpod.kb.io of theirs",
            "docs/migration.md",
        ),
        (
            |f| add(f, "renamed", "kruise-webhook-service", "/p", "*"),
            "other-manager",
            Fail,
            "renamed of theirs",
            "migration",
        ),
        (
            |f| add(f, "mpod.kb.io", "somebody", "/mutate-pod", "pods"),
            "other-manager",
            Fail,
            "mpod.kb.io",
            "migration",
        ),
        // What a common tool names every webhook.
        (|f| add(f, "mpod.kb.io", "somebody", "/mutate-v1-pod", "pods"), "other-manager", Ok, "none", ""),
        (
            |f| add(f, "mcloneset.kb.io", "kruise-webhook-service", "/c", "clonesets"),
            "other-manager",
            Ok,
            "none",
            "",
        ),
        (
            |f| {
                f.kruise_managers = Fetched::Found(vec![json!({"metadata": {"namespace": "k", "name": "m"}})])
            },
            "other-manager",
            Warn,
            "manager runs (k/m)",
            "migration",
        ),
    ]);
}
