//! Rights: of the caller to install, of the webhook to run.

use super::Finding;
use super::definition;
use super::facts::{Asked, Facts, Phase, Right, Target};
use super::object::option;

/// What whoever installs has to be allowed to create.
#[must_use]
pub(super) fn to_install(target: &Target) -> Vec<Right> {
    const ADMISSION: &str = "admissionregistration.k8s.io";
    const RBAC: &str = "rbac.authorization.k8s.io";
    let right = |group, resource, namespace: &str| Right {
        verb: "create",
        group,
        resource,
        namespace: namespace.to_owned(),
        needed_for: "the install",
        ..Right::default()
    };
    let own = target.namespace.as_str();
    vec![
        right("", "namespaces", ""),
        right("apiextensions.k8s.io", "customresourcedefinitions", ""),
        right(ADMISSION, "mutatingwebhookconfigurations", ""),
        right(ADMISSION, "validatingwebhookconfigurations", ""),
        right(RBAC, "clusterroles", ""),
        right(RBAC, "clusterrolebindings", ""),
        right(RBAC, "roles", own),
        right(RBAC, "rolebindings", own),
        // For Events on sets.
        right(RBAC, "roles", "default"),
        right(RBAC, "rolebindings", "default"),
        right("", "serviceaccounts", own),
        right("", "services", own),
        right("apps", "deployments", own),
        right("autoscaling", "horizontalpodautoscalers", own),
        right("policy", "poddisruptionbudgets", own),
    ]
}

/// What the webhook has to be allowed to do with a cluster as its source; `managed` if it also manages its certificates in
/// this Secret. A test compares it with the rights that the manifests give.
#[must_use]
pub(super) fn to_run(target: &Target, revisions: &str, managed: Option<&str>) -> Vec<Right> {
    let mut rights = Vec::new();
    let mut add = |verbs: &[&'static str], group, resource, name: &str, namespace: &str, needed_for| {
        rights.extend(verbs.iter().map(|verb| Right {
            verb,
            group,
            resource,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            needed_for,
        }));
    };
    let own = target.namespace.as_str();
    add(&["get", "list", "watch"], "apps.kruise.io", "sidecarsets", "", "", "reading the sets");
    add(&["get", "list", "watch"], "", "namespaces", "", "", "namespaceSelector of sets");
    add(&["list", "watch"], "apps", "controllerrevisions", "", revisions, "stored revisions of sets");
    add(
        &["list", "watch"],
        "",
        "configmaps",
        "kruise-configuration",
        own,
        "the allow list of patchPodMetadata",
    );
    add(&["create", "patch"], "events.k8s.io", "events", "", "default", "Events on sets");
    if let Some(secret) = managed {
        let why = "managed certificates";
        add(&["create"], "", "secrets", "", own, why);
        add(&["get", "list", "watch", "update"], "", "secrets", secret, own, why);
        let mut published = |group, resource, name: &str| {
            add(&["get", "list", "watch", "patch"], group, resource, name, "", why);
        };
        // Both kinds are watched under each name, whether they are there or not.
        for name in &target.webhook_configurations {
            for resource in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
                published("admissionregistration.k8s.io", resource, name);
            }
        }
        published("apiextensions.k8s.io", "customresourcedefinitions", definition::NAME);
    }
    rights
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    match facts.phase {
        Phase::Before => {
            let fix = "install with an account that may, for example one bound to cluster-admin";
            vec![verdict("install-rights", "you", &facts.caller_rights, fix)]
        }
        Phase::After => {
            const CHECK: &str = "webhook-rights";
            let reads_a_folder = facts.deployment.get().is_some_and(|it| option(it, "sidecarsets").is_some());
            if reads_a_folder {
                return vec![Finding::ok(CHECK, "none needed: the sets come from a folder")];
            }
            let account = format!("the ServiceAccount {}", facts.target.service_name());
            let fix =
                "apply the ClusterRole, the Roles and their bindings of the manifests or the chart again";
            vec![verdict(CHECK, &account, &facts.webhook_rights, fix)]
        }
    }
}

fn verdict(check: &'static str, who: &str, asked: &[Asked], fix: &str) -> Finding {
    let failed = asked.iter().find_map(|asked| asked.allowed.as_ref().err());
    let mut denied: Vec<(&str, Vec<String>)> = Vec::new();
    for Asked { right, .. } in asked.iter().filter(|asked| asked.allowed == Ok(false)) {
        match denied.last_mut() {
            Some((why, list)) if *why == right.needed_for => list.push(told(right)),
            _ => denied.push((right.needed_for, vec![told(right)])),
        }
    }
    if !denied.is_empty() {
        let groups = denied.iter().map(|(why, list)| format!("{} (for {why})", list.join(", ")));
        let found = format!("{who} may not {}", groups.collect::<Vec<_>>().join("; "));
        return Finding::fail(check, found, fix);
    }
    match failed {
        Some(why) => Finding::skipped(
            check,
            format!("cannot ask what {who} may do: {why}"),
            "use an account that may create subjectaccessreviews",
        ),
        None => Finding::ok(check, format!("{who} may do all {} things that are needed", asked.len())),
    }
}

/// As `kubectl auth can-i` takes it.
fn told(right: &Right) -> String {
    let Right { verb, group, resource, name, namespace, needed_for: _ } = right;
    let dotted = if group.is_empty() { String::new() } else { format!(".{group}") };
    let slash = if name.is_empty() { String::new() } else { format!("/{name}") };
    let place = if namespace.is_empty() { String::new() } else { format!(" -n {namespace}") };
    format!("{verb} {resource}{dotted}{slash}{place}")
}
