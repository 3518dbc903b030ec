//! Rights: of the caller to install, of the webhook and the controller to run.

use serde_json::Value;

use super::facts::{Asked, CONTROLLER, Facts, Gifts, Phase, Right, Target};
use super::object::{is_on, option};
use super::{Finding, Level, definition};

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
/// Where Events on objects without a namespace are kept.
const EVENTS: &str = "default";
/// Secret of managed certificates.
pub(super) const CERTIFICATE_SECRET: &str = "sidecarset-webhook-certificate";

/// What whoever installs has to be allowed to create.
#[must_use]
pub(super) fn to_install(target: &Target) -> Vec<Right> {
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
        right(RBAC, "roles", EVENTS),
        right(RBAC, "rolebindings", EVENTS),
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
        rights.extend(each(verbs, group, resource, name, namespace, needed_for));
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
    add(&["create", "patch"], "events.k8s.io", "events", "", EVENTS, "Events on sets");
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
                published(ADMISSION, resource, name);
            }
        }
        published("apiextensions.k8s.io", "customresourcedefinitions", definition::NAME);
    }
    rights
}

/// What a controller is told on its command line that decides about its rights.
#[derive(Debug, Clone, Copy)]
pub(super) struct ControllerSettings<'d> {
    /// Namespace of the ControllerRevisions.
    pub(super) revisions: &'d str,
    /// Name of the Lease.
    pub(super) lease: &'d str,
    /// Name of the mutating webhook configuration for Pods.
    pub(super) configuration: &'d str,
    /// Whether it ends marked sidecars.
    pub(super) terminator: bool,
}

impl<'d> ControllerSettings<'d> {
    /// Those of a Deployment, and the defaults for what it does not say.
    pub(super) fn of(deployment: &'d Value, own: &'d str) -> Self {
        Self {
            revisions: option(deployment, "revision-namespace").unwrap_or(own),
            lease: option(deployment, "lease").unwrap_or(CONTROLLER),
            configuration: option(deployment, "webhook-configuration").unwrap_or("sidecarset"),
            terminator: is_on(deployment, "terminator"),
        }
    }
}

/// What the controller has to be allowed to do. Not evictions: without that right it tells what it would do. A test compares the list
/// with the rights that the manifests give.
#[must_use]
pub(super) fn to_control(target: &Target, settings: ControllerSettings<'_>) -> Vec<Right> {
    const SETS: &str = "apps.kruise.io";
    let mut rights = Vec::new();
    let mut add = |verbs: &[&'static str], group, resource, name: &str, namespace: &str, needed_for| {
        rights.extend(each(verbs, group, resource, name, namespace, needed_for));
    };
    let own = target.namespace.as_str();
    let ControllerSettings { revisions, lease, configuration, terminator } = settings;
    let all = ["get", "list", "watch", "create", "patch", "delete"];
    add(&["list", "watch"], SETS, "sidecarsets", "", "", "reading the sets");
    add(&["patch"], SETS, "sidecarsets/status", "", "", "status of the sets");
    add(&all, "apps", "controllerrevisions", "", revisions, "revisions of sets");
    add(&["update"], SETS, "sidecarsets/finalizers", "", "", "revisions of sets");
    add(&["get", "list", "watch", "patch"], "", "pods", "", "", "rollouts");
    add(&["patch"], "", "pods/status", "", "", "the condition SidecarSetUpgradable");
    add(&["list", "watch"], "", "namespaces", "", "", "namespaceSelector of sets");
    add(&["create", "patch"], "events.k8s.io", "events", "", "", "Events on sets and Pods");
    let missed = "Pods that missed injection";
    add(&["get"], ADMISSION, "mutatingwebhookconfigurations", configuration, "", missed);
    add(&["list"], "discovery.k8s.io", "endpointslices", "", own, missed);
    add(&["create"], "coordination.k8s.io", "leases", "", own, "the election");
    add(&["get", "update"], "coordination.k8s.io", "leases", lease, own, "the election");
    if terminator {
        let why = "the terminator";
        add(&["get"], "", "nodes", "", "", why);
        add(&["list", "create"], SETS, "containerrecreaterequests", "", "", why);
        add(&["update"], "", "pods/finalizers", "", "", why);
    }
    rights
}

/// What lets somebody make the roles and bindings of the install whatever he may do himself.
#[must_use]
pub(super) fn to_give_without_limit(target: &Target) -> Vec<Right> {
    let bound = ["sidecarset-webhook", "sidecarset-webhook-certificates", CONTROLLER];
    let own = target.namespace.as_str();
    let mut rights = Vec::new();
    for (resource, namespace, names) in
        [("clusterroles", "", &bound[..]), ("roles", own, &bound[..]), ("roles", EVENTS, &bound[..1])]
    {
        let why = "giving rights that you lack";
        // Making a role asks about no name, making a binding about the name of its role.
        rights.extend(each(&["escalate"], RBAC, resource, "", namespace, why));
        rights.extend(names.iter().flat_map(|name| each(&["bind"], RBAC, resource, name, namespace, why)));
    }
    rights
}

/// What somebody without those rights has to have himself. A test compares it with all roles of the manifests.
#[must_use]
pub(super) fn to_give(target: &Target, unlimited: &[Asked]) -> Vec<Right> {
    let lacks = |verb: &str, namespace: &str| denied_of(unlimited, namespace).any(|right| right.verb == verb);
    let own = target.namespace.as_str();
    let mut rights = to_run(target, own, Some(CERTIFICATE_SECRET));
    rights.extend(to_control(target, ControllerSettings::of(&Value::Null, own)));
    rights.retain(|right| lacks("escalate", &right.namespace) || lacks("bind", &right.namespace));
    // Nobody is bound to these.
    if lacks("escalate", "") {
        let why = "the ClusterRoles for people";
        let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
        rights.extend(each(&verbs, "apps.kruise.io", "sidecarsets", "", "", why));
        rights.extend(each(&["get"], "apps.kruise.io", "sidecarsets/status", "", "", why));
    }
    rights
}

fn each(
    verbs: &[&'static str],
    group: &'static str,
    resource: &'static str,
    name: &str,
    namespace: &str,
    needed_for: &'static str,
) -> Vec<Right> {
    let right = |verb: &&'static str| Right {
        verb,
        group,
        resource,
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        needed_for,
    };
    verbs.iter().map(right).collect()
}

/// What was not allowed in a namespace, or could not be asked.
fn denied_of<'a>(asked: &'a [Asked], namespace: &str) -> impl Iterator<Item = &'a Right> {
    let is_denied = move |asked: &&Asked| asked.right.namespace == namespace && asked.allowed != Ok(true);
    asked.iter().filter(is_denied).map(|asked| &asked.right)
}

/// Check `install-rights`.
fn install(facts: &Facts) -> Finding {
    const CHECK: &str = "install-rights";
    const FIX: &str = "install with an account that may, for example one bound to cluster-admin";
    let Gifts { unlimited, held } = &facts.caller_gifts;
    let finding = verdict(CHECK, "you", &facts.caller_rights, FIX);
    if finding.level != Level::Ok {
        return finding;
    }
    let Some(missing) = held.iter().find(|asked| asked.allowed == Ok(false)) else {
        let asked = verdict(CHECK, "you", held, FIX);
        return if asked.level == Level::Ok { finding } else { asked };
    };
    let right = &missing.right;
    let lifts = denied_of(unlimited, &right.namespace).next().map(told).unwrap_or_default();
    let found = format!(
        "you may create roles, but not one that gives a right which you lack, as the install has to: {} (for {})",
        told(right),
        right.needed_for
    );
    Finding::fail(CHECK, found, format!("{FIX}, or get this right, or the right to {lifts}"))
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    match facts.phase {
        Phase::Before => vec![install(facts)],
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

/// Whether `who` may do everything that was asked about.
pub(super) fn verdict(check: &'static str, who: &str, asked: &[Asked], fix: &str) -> Finding {
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

/// Resource and subresource, which is empty for the object itself.
pub(super) fn parts(resource: &str) -> (&str, &str) {
    resource.split_once('/').unwrap_or((resource, ""))
}

/// As `kubectl auth can-i` takes it.
fn told(right: &Right) -> String {
    let Right { verb, group, resource, name, namespace, needed_for: _ } = right;
    let dotted = if group.is_empty() { String::new() } else { format!(".{group}") };
    let slash = if name.is_empty() { String::new() } else { format!("/{name}") };
    let place = if namespace.is_empty() { String::new() } else { format!(" -n {namespace}") };
    let (resource, part) = parts(resource);
    let part = if part.is_empty() { String::new() } else { format!(" --subresource={part}") };
    format!("{verb} {resource}{dotted}{slash}{part}{place}")
}
