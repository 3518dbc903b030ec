//! Asking the API server for everything that the checks need.

use std::time::Duration;

use axum::http::{Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use kube::Client;
use serde_json::{Value, json};

use super::facts::{Asked, CONTROLLER, Facts, Fetched, Gifts, Phase, Right, Target, Version};
use super::object::{name, option, secret_mounted_at, text};
use super::rights::ControllerSettings;
use super::trial::{self, Answer, Calls, Counters, PodTrial, SetTrial};
use super::{definition, rights};
use crate::causes;
use crate::clock::unix_now;

/// Longest wait for one answer: longer than the API server waits for a webhook.
const PATIENCE: Duration = Duration::from_secs(40);
/// Name of OpenKruise's Deployment.
const KRUISE_MANAGER: &str = "kruise-controller-manager";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// What to look at.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Names of our objects.
    pub target: Target,
    /// What is expected; `None` finds it out.
    pub phase: Option<Phase>,
    /// Name of the Secret with the serving certificate; `None` takes it from the Deployment.
    pub certificate_secret: Option<String>,
    /// Namespace of the trial Pod.
    pub probe_namespace: String,
}

/// Asks for everything. What cannot be read is a fact too.
///
/// # Errors
///
/// The API server does not answer at all.
pub async fn facts(client: &Client, scope: Scope) -> Result<Facts, String> {
    let api = Api(client);
    let version = api.version().await?;
    let Scope { target, phase, certificate_secret, probe_namespace } = scope;
    let mutating = api.list(&format!("{ADMISSION}/mutatingwebhookconfigurations")).await;
    let validating = api.list(&format!("{ADMISSION}/validatingwebhookconfigurations")).await;
    let is_ours = |it: &Value| target.webhook_configurations.iter().any(|own| own == name(it));
    let installed = [&mutating, &validating]
        .into_iter()
        .any(|list| list.get().is_some_and(|list| list.iter().any(is_ours)));
    let phase = phase.unwrap_or(if installed { Phase::After } else { Phase::Before });

    let own = &target.namespace;
    let deployment = api.get(&format!("/apis/apps/v1/namespaces/{own}/deployments/{}", target.service)).await;
    let asked = |flag| deployment.get().and_then(|it| option(it, flag)).map(str::to_owned);
    let revisions = asked("revision-namespace").unwrap_or_else(|| own.clone());
    let secret = certificate_secret.unwrap_or_else(|| secret_of(deployment.get()));
    let selector = format!("kubernetes.io/service-name={}", target.service);
    let mut facts = Facts {
        phase,
        now_unix: unix_now(),
        version,
        admission_versions: api.versions("admissionregistration.k8s.io").await,
        set_versions: api.versions("apps.kruise.io").await,
        definition: api
            .get(&format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}", definition::NAME))
            .await,
        kruise_managers: api
            .list(&format!("/apis/apps/v1/deployments?fieldSelector=metadata.name={KRUISE_MANAGER}"))
            .await,
        caller_rights: Vec::new(),
        caller_gifts: Gifts::default(),
        webhook_rights: Vec::new(),
        controller_rights: Vec::new(),
        namespace: api.get(&format!("/api/v1/namespaces/{own}")).await,
        revision_namespace: (revisions.clone(), api.get(&format!("/api/v1/namespaces/{revisions}")).await),
        controller: api.get(&format!("/apis/apps/v1/namespaces/{own}/deployments/{CONTROLLER}")).await,
        sets: Fetched::Absent,
        service: api.get(&format!("/api/v1/namespaces/{own}/services/{}", target.service)).await,
        endpoint_slices: api
            .list(&format!(
                "/apis/discovery.k8s.io/v1/namespaces/{own}/endpointslices?labelSelector={selector}"
            ))
            .await,
        serving: (secret, Fetched::Absent),
        pod_trial: None,
        set_trial: None,
        mutating,
        validating,
        deployment,
        target,
    };
    match phase {
        Phase::Before => {
            facts.caller_rights = api.rights(rights::to_install(&facts.target), None).await;
            facts.caller_gifts = api.gifts(&facts.target).await;
        }
        Phase::After => after(&api, &mut facts, &probe_namespace).await,
    }
    Ok(facts)
}

/// What is asked only of an install that is there.
async fn after(api: &Api<'_>, facts: &mut Facts, probe_namespace: &str) {
    let own = facts.target.namespace.clone();
    facts.serving.1 = api.serving_chain(&own, &facts.serving.0).await;
    facts.webhook_rights = api.webhook_rights(facts).await;
    facts.controller_rights = api.controller_rights(facts).await;
    let webhook = super::webhooks::hooks(facts)
        .into_iter()
        .find(|hook| hook.purpose == super::webhooks::Purpose::Pods)
        .map(|hook| hook.value.clone());
    if let Some(webhook) = webhook {
        facts.pod_trial = Some(api.try_pod(&webhook, probe_namespace).await);
    }
    if facts.definition.get().is_some() {
        facts.sets = api.count("/apis/apps.kruise.io/v1beta1/sidecarsets").await;
        facts.set_trial = Some(api.try_sets().await);
    }
}

/// The Secret that the webhook serves from: mounted at its `--cert-dir`, else the managed one.
fn secret_of(deployment: Option<&Value>) -> String {
    let mounted = deployment.and_then(|it| secret_mounted_at(it, option(it, "cert-dir")?));
    let named = deployment.and_then(|it| option(it, "certificate-secret"));
    mounted.or(named).unwrap_or(rights::CERTIFICATE_SECRET).to_owned()
}

/// The user name of the ServiceAccount that a Deployment runs under, and of the usual one where it names none.
fn account_of(deployment: Option<&Value>, usual: &str, namespace: &str) -> String {
    let named = deployment.map(|it| text(it, "/spec/template/spec/serviceAccountName"));
    let account = named.filter(|name| !name.is_empty()).unwrap_or(usual);
    format!("system:serviceaccount:{namespace}:{account}")
}

struct Api<'c>(&'c Client);

impl Api<'_> {
    /// One call: the body, or HTTP status and message.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<String, (u16, String)> {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Content-Type", "application/json")
            .body(bytes)
            .map_err(|error| (0, error.to_string()))?;
        match tokio::time::timeout(PATIENCE, self.0.request_text(request)).await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(kube::Error::Api(status))) => Err((status.code, status.message.clone())),
            Ok(Err(error)) => Err((0, causes::told(&error))),
            Err(_) => Err((0, format!("no answer within {PATIENCE:?}"))),
        }
    }

    async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, (u16, String)> {
        let text = self.call(method, path, body).await?;
        serde_json::from_str(&text).map_err(|error| (0, format!("{path}: the answer is no JSON: {error}")))
    }

    async fn get(&self, path: &str) -> Fetched<Value> {
        match self.json(Method::GET, path, None).await {
            Ok(object) => Fetched::Found(object),
            Err((404, _)) => Fetched::Absent,
            Err((_, why)) => Fetched::Refused(why),
        }
    }

    async fn list(&self, path: &str) -> Fetched<Vec<Value>> {
        match self.get(path).await {
            Fetched::Found(mut list) => match list.get_mut("items").map(Value::take) {
                Some(Value::Array(items)) => Fetched::Found(items),
                _ => Fetched::Found(Vec::new()),
            },
            Fetched::Absent => Fetched::Absent,
            Fetched::Refused(why) => Fetched::Refused(why),
        }
    }

    /// How many objects a list has, read from the first of them.
    async fn count(&self, path: &str) -> Fetched<u64> {
        match self.get(&format!("{path}?limit=1")).await {
            Fetched::Found(list) => {
                let rest = list.pointer("/metadata/remainingItemCount").and_then(Value::as_u64);
                let first = super::object::items(&list, "/items").count() as u64;
                Fetched::Found(first + rest.unwrap_or_default())
            }
            Fetched::Absent => Fetched::Absent,
            Fetched::Refused(why) => Fetched::Refused(why),
        }
    }

    async fn version(&self) -> Result<Version, String> {
        let found = self.json(Method::GET, "/version", None).await;
        let found = found.map_err(|(_, why)| format!("the API server does not answer: {why}"))?;
        // Some providers write `30+`.
        let digits: String = text(&found, "/minor").chars().take_while(char::is_ascii_digit).collect();
        Ok(Version {
            git_version: text(&found, "/gitVersion").to_owned(),
            minor: digits.parse().unwrap_or_default(),
        })
    }

    /// The versions of an API group that are served.
    async fn versions(&self, group: &str) -> Vec<String> {
        match self.get(&format!("/apis/{group}")).await {
            Fetched::Found(group) => {
                super::object::items(&group, "/versions").map(|it| text(it, "/version").to_owned()).collect()
            }
            Fetched::Absent | Fetched::Refused(_) => Vec::new(),
        }
    }

    /// `tls.crt` of a Secret. The key that is beside it goes no further than this function.
    async fn serving_chain(&self, namespace: &str, secret: &str) -> Fetched<String> {
        let secret = match self.get(&format!("/api/v1/namespaces/{namespace}/secrets/{secret}")).await {
            Fetched::Found(secret) => secret,
            Fetched::Absent => return Fetched::Absent,
            Fetched::Refused(why) => return Fetched::Refused(why),
        };
        let encoded = secret.pointer("/data/tls.crt").and_then(Value::as_str).unwrap_or_default();
        let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        decoded.filter(|pem| !pem.is_empty()).map_or(Fetched::Absent, Fetched::Found)
    }

    async fn webhook_rights(&self, facts: &Facts) -> Vec<Asked> {
        let asked = |flag| facts.deployment.get().is_some_and(|it| option(it, flag).is_some());
        if asked("sidecarsets") {
            return Vec::new();
        }
        let managed = (!asked("cert-dir")).then_some(facts.serving.0.as_str());
        let needed = rights::to_run(&facts.target, &facts.revision_namespace.0, managed);
        let user = account_of(facts.deployment.get(), &facts.target.service, &facts.target.namespace);
        self.rights(needed, Some(&user)).await
    }

    async fn controller_rights(&self, facts: &Facts) -> Vec<Asked> {
        let Some(deployment) = facts.controller.get() else { return Vec::new() };
        let own = &facts.target.namespace;
        let needed = rights::to_control(&facts.target, ControllerSettings::of(deployment, own));
        self.rights(needed, Some(&account_of(Some(deployment), CONTROLLER, own))).await
    }

    async fn gifts(&self, target: &Target) -> Gifts {
        let unlimited = self.rights(rights::to_give_without_limit(target), None).await;
        let held = self.rights(rights::to_give(target, &unlimited), None).await;
        Gifts { unlimited, held }
    }

    /// Whether `user`, or the caller, has these rights.
    async fn rights(&self, needed: Vec<Right>, user: Option<&str>) -> Vec<Asked> {
        join_all(needed.into_iter().map(async |right| {
            let allowed = self.may(&right, user).await;
            Asked { right, allowed }
        }))
        .await
    }

    async fn may(&self, right: &Right, user: Option<&str>) -> Result<bool, String> {
        let (resource, subresource) = rights::parts(right.resource);
        let attributes = json!({
            "verb": right.verb, "group": right.group, "resource": resource, "subresource": subresource,
            "name": right.name, "namespace": right.namespace,
        });
        let (kind, path, spec) = match user {
            None => (
                "SelfSubjectAccessReview",
                "selfsubjectaccessreviews",
                json!({"resourceAttributes": attributes}),
            ),
            Some(user) => {
                // What the API server itself would say about a token of that account.
                let namespace = user.split(':').nth(2).unwrap_or_default();
                let groups = [
                    "system:serviceaccounts",
                    &format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated",
                ];
                let spec = json!({"user": user, "groups": groups, "resourceAttributes": attributes});
                ("SubjectAccessReview", "subjectaccessreviews", spec)
            }
        };
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
        let path = format!("/apis/authorization.k8s.io/v1/{path}");
        match self.json(Method::POST, &path, Some(&review)).await {
            Ok(answer) => Ok(answer.pointer("/status/allowed") == Some(&Value::Bool(true))),
            Err((_, why)) => Err(why),
        }
    }

    async fn dry_run(&self, path: &str, object: &Value) -> Answer {
        match self.json(Method::POST, &format!("{path}?dryRun=All"), Some(object)).await {
            Ok(stored) => Answer::Stored(stored),
            Err((status, message)) => Answer::Refused(status, message),
        }
    }

    async fn try_pod(&self, webhook: &Value, namespace: &str) -> PodTrial {
        let mut labels = webhook.pointer("/objectSelector/matchLabels").cloned().unwrap_or_else(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(trial::LABEL.to_owned(), "none".into());
        }
        let found = self.get(&format!("/api/v1/namespaces/{namespace}")).await;
        let namespace_labels = found.get().and_then(|it| it.pointer("/metadata/labels")).cloned();
        let webhook = text(webhook, "/name");
        let before = self.counters(webhook).await;
        let answer =
            self.dry_run(&format!("/api/v1/namespaces/{namespace}/pods"), &trial::pod(&labels)).await;
        let after = self.counters(webhook).await;
        let calls = match (before, after) {
            (Some(before), Some(after)) => before.until(after),
            _ => Calls::Unknown,
        };
        let namespace_labels = namespace_labels.unwrap_or_else(|| json!({}));
        PodTrial { namespace: namespace.to_owned(), namespace_labels, labels, answer, calls }
    }

    async fn counters(&self, webhook: &str) -> Option<Counters> {
        let metrics = self.call(Method::GET, "/metrics", None).await.ok()?;
        Some(Counters::read(&metrics, webhook))
    }

    async fn try_sets(&self) -> SetTrial {
        let path = "/apis/apps.kruise.io/v1alpha1/sidecarsets";
        let good = self.dry_run(path, &trial::set(true)).await;
        SetTrial { good, bad: self.dry_run(path, &trial::set(false)).await }
    }
}
