//! Our webhook configurations: are they there, do they point to us, do they ask what they should.

use serde_json::{Value, json};
use sidecarset_core::api::keys::NAMESPACE_NAME;
use sidecarset_core::selector::Selector;

use super::facts::Facts;
use super::object::{items, name, text};
use super::{Finding, fetched};

/// What puts our objects back.
const REAPPLY: &str = "apply the manifests or the chart again";
/// Namespace that no webhook should be needed for.
const KUBE_SYSTEM: &str = "kube-system";
/// Longest timeout that does not hold up the API server's own limits of 30 s for a whole request.
const LONGEST_TIMEOUT_S: i64 = 15;

/// One webhook of a configuration of ours.
pub(super) struct Hook<'f> {
    /// Name of the configuration.
    pub(super) configuration: &'f str,
    /// Which kind of question it is there for.
    pub(super) purpose: Purpose,
    /// As it is stored.
    pub(super) value: &'f Value,
}

/// What the API server asks a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To inject into Pods.
    Pods,
    /// To default SidecarSets.
    Defaulting,
    /// To validate SidecarSets.
    Validation,
}

impl Purpose {
    const ALL: [Self; 3] = [Self::Pods, Self::Defaulting, Self::Validation];

    fn path(self) -> &'static str {
        match self {
            Self::Pods => "/mutate-pod",
            Self::Defaulting => "/mutate-apps-kruise-io-sidecarset",
            Self::Validation => "/validate-apps-kruise-io-sidecarset",
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::Pods => "Pods",
            Self::Defaulting => "defaults of SidecarSets",
            Self::Validation => "validation of SidecarSets",
        }
    }
}

impl Hook<'_> {
    fn name(&self) -> String {
        format!("{} of {}", text(self.value, "/name"), self.configuration)
    }

    /// Whether the object of a request goes on without an answer.
    pub(super) fn fails_open(&self) -> bool {
        text(self.value, "/failurePolicy") == "Ignore"
    }

    /// Why Pods with these labels in a namespace with these labels are not asked about, if that can be told from selectors.
    pub(super) fn excluded_by(&self, namespace_labels: &Value, pod_labels: &Value) -> Option<&'static str> {
        [("namespaceSelector", namespace_labels), ("objectSelector", pod_labels)]
            .into_iter()
            .find(|(member, labels)| !matches(self.value, member, labels))
            .map(|(member, _)| member)
    }
}

/// An absent selector matches everything.
fn matches(hook: &Value, member: &str, labels: &Value) -> bool {
    let selector = hook.get(member).filter(|selector| !selector.is_null());
    selector.is_none_or(|selector| Selector::compile(selector).matches(pairs(labels).as_slice()))
}

fn pairs(labels: &Value) -> Vec<(String, String)> {
    let entries = labels.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Every webhook in our configurations that has a purpose which we know.
pub(super) fn hooks(facts: &Facts) -> Vec<Hook<'_>> {
    let of = |list: &'_ [Value]| -> Vec<usize> {
        let is_ours = |at: &usize| {
            list.get(*at)
                .is_some_and(|it| facts.target.webhook_configurations.iter().any(|own| own == name(it)))
        };
        (0..list.len()).filter(is_ours).collect()
    };
    let mut found = Vec::new();
    for (list, mutates) in [(facts.mutating.get(), true), (facts.validating.get(), false)] {
        let list = list.map(Vec::as_slice).unwrap_or_default();
        for configuration in of(list).into_iter().filter_map(|at| list.get(at)) {
            for value in items(configuration, "/webhooks") {
                if let Some(purpose) = purpose_of(value, mutates) {
                    found.push(Hook { configuration: name(configuration), purpose, value });
                }
            }
        }
    }
    found
}

fn purpose_of(hook: &Value, mutates: bool) -> Option<Purpose> {
    let asks_for =
        |resource: &str| items(hook, "/rules").any(|rule| items(rule, "/resources").any(|it| it == resource));
    match (asks_for("pods"), asks_for("sidecarsets"), mutates) {
        (true, _, true) => Some(Purpose::Pods),
        (_, true, true) => Some(Purpose::Defaulting),
        (_, true, false) => Some(Purpose::Validation),
        _ => None,
    }
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "webhook-configurations";
    for (what, list) in [("mutating", &facts.mutating), ("validating", &facts.validating)] {
        if let Err(finding) = fetched(CHECK, &format!("the {what} webhook configurations"), list) {
            return vec![finding];
        }
    }
    let hooks = hooks(facts);
    let missing: Vec<&str> = Purpose::ALL
        .into_iter()
        .filter(|purpose| !hooks.iter().any(|hook| hook.purpose == *purpose))
        .map(Purpose::told)
        .collect();
    let names = facts.target.webhook_configurations.join(", ");
    let mut findings = vec![if missing.is_empty() {
        Finding::ok(CHECK, format!("{names}: Pods, defaults and validation of SidecarSets"))
    } else {
        Finding::fail(CHECK, format!("no webhook for {} in {names}", missing.join(" and ")), REAPPLY)
    }];
    if !hooks.is_empty() {
        findings.push(all("webhook-target", &hooks, facts, target));
        findings.push(all("webhook-policy", &hooks, facts, policy));
    }
    if let Some(pods) = hooks.iter().find(|hook| hook.purpose == Purpose::Pods) {
        findings.push(exemptions(pods, facts));
    }
    findings
}

/// What is wrong with one webhook: text, fix, and whether it still works.
type Wrong = (String, String, bool);

fn all(
    check: &'static str,
    hooks: &[Hook<'_>],
    facts: &Facts,
    judge: fn(&Hook<'_>, &Facts) -> Result<String, Wrong>,
) -> Finding {
    let (mut good, mut wrong) = (Vec::new(), Vec::new());
    for hook in hooks {
        match judge(hook, facts) {
            Ok(text) => good.push(text),
            Err((text, fix, works)) => wrong.push((works, format!("{}: {text}", hook.name()), fix)),
        }
    }
    // The worst first, and its fix.
    wrong.sort_by_key(|(works, _, _)| *works);
    let Some((works, _, fix)) = wrong.first().cloned() else {
        good.sort();
        good.dedup();
        return Finding::ok(check, good.join("; "));
    };
    let found: Vec<String> = wrong.into_iter().map(|(_, text, _)| text).collect();
    if works {
        Finding::warn(check, found.join("; "), fix)
    } else {
        Finding::fail(check, found.join("; "), fix)
    }
}

/// Check `webhook-target`.
fn target(hook: &Hook<'_>, facts: &Facts) -> Result<String, Wrong> {
    let expected = facts.target.service_name();
    let wrong = |text: String| (text, REAPPLY.to_owned(), false);
    if let Some(url) = hook.value.pointer("/clientConfig/url") {
        return Err((format!("calls the URL {url}, not the Service {expected}"), REAPPLY.to_owned(), true));
    }
    let at = |member: &str| text(hook.value, &format!("/clientConfig/service/{member}"));
    let (service, path) = (format!("{}/{}", at("namespace"), at("name")), at("path"));
    if service != expected {
        return Err(wrong(format!("calls the Service {service}, not {expected}")));
    }
    if path != hook.purpose.path() {
        return Err(wrong(format!("calls the path {path:?}, not {:?}", hook.purpose.path())));
    }
    let port = hook.value.pointer("/clientConfig/service/port").and_then(Value::as_i64).unwrap_or(443);
    if let Some(service) = facts.service.get() {
        let ports: Vec<i64> =
            items(service, "/spec/ports").filter_map(|port| port.get("port")?.as_i64()).collect();
        if !ports.contains(&port) {
            let ports = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(wrong(format!("calls port {port}, the Service has {ports}")));
        }
    }
    Ok(format!("Service {expected}, port {port}"))
}

/// Check `webhook-policy`.
fn policy(hook: &Hook<'_>, _: &Facts) -> Result<String, Wrong> {
    let side_effects = text(hook.value, "/sideEffects");
    if !["None", "NoneOnDryRun"].contains(&side_effects) {
        let text = format!("sideEffects is {side_effects:?}: every dry run is refused");
        return Err((text, format!("set it to None; {REAPPLY}"), false));
    }
    let timeout = hook.value.get("timeoutSeconds").and_then(Value::as_i64).unwrap_or(10);
    if timeout > LONGEST_TIMEOUT_S {
        let text = format!("timeoutSeconds is {timeout}: a replica that is gone holds up Pods for that long");
        return Err((text, "10 is enough for an answer, and for one more try".to_owned(), true));
    }
    if timeout < 2 {
        let text = format!("timeoutSeconds is {timeout}: no time for another try when a replica is gone");
        return Err((text, "set it to 5 or more".to_owned(), true));
    }
    if hook.fails_open() {
        let what = match hook.purpose {
            Purpose::Pods => "Pods start without sidecars",
            Purpose::Defaulting | Purpose::Validation => "SidecarSets are stored without defaults or checks",
        };
        let text = format!("failurePolicy is Ignore: {what} while no webhook answers");
        return Err((text, "set it to Fail, if sidecars matter more than Pods that start".to_owned(), true));
    }
    Ok(format!("failurePolicy Fail, timeout {timeout} s"))
}

/// Check `webhook-exemptions`: what the webhook needs to start, or the cluster, must not ask the webhook.
fn exemptions(hook: &Hook<'_>, facts: &Facts) -> Finding {
    const CHECK: &str = "webhook-exemptions";
    let own = facts.target.namespace.as_str();
    let asked: Vec<&str> = [own, KUBE_SYSTEM]
        .into_iter()
        .filter(|namespace| {
            let stored = facts.namespace.get().filter(|stored| name(stored) == *namespace);
            let labels = stored.and_then(|stored| stored.pointer("/metadata/labels")).cloned();
            let labels = labels.unwrap_or_else(|| json!({NAMESPACE_NAME: namespace}));
            hook.excluded_by(&labels, &json!({})) != Some("namespaceSelector")
        })
        .collect();
    if asked.is_empty() {
        return Finding::ok(CHECK, format!("Pods in {own} and {KUBE_SYSTEM} do not wait for the webhook"));
    }
    let found = format!("Pods in {} wait for the webhook", asked.join(" and "));
    let fix =
        format!("exempt {} in the namespaceSelector of {}; {REAPPLY}", asked.join(" and "), hook.name());
    if hook.fails_open() {
        return Finding::warn(CHECK, found, fix);
    }
    let why = if asked.contains(&own) {
        ": it cannot start when none of it runs"
    } else {
        ": the cluster may not start"
    };
    Finding::fail(CHECK, found + why, fix)
}
