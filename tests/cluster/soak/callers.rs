//! Who asks for admissions: programs that create Pods at the API server, one that changes SidecarSets there, and bursts straight
//! to the replicas, sent as an API server would send them.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Method, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::load_client::{Pool, Target};
use crate::service;

use super::fleet::Listed;
use super::sets::{self, Sets};
use super::tally::{Called, Tally, Way};

/// Where the Pods are created.
pub(crate) const NAMESPACE: &str = "stream";
/// Where the SidecarSets are.
const SETS: &str = "/apis/apps.kruise.io/v1beta1/sidecarsets";
/// How long a caller waits before it sends a Pod again.
const PAUSE: Duration = Duration::from_millis(200);

/// What all callers share.
pub(crate) struct Callers {
    pub(crate) client: kube::Client,
    pub(crate) sets: Arc<Sets>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) done: AtomicBool,
    pub(crate) number: AtomicU64,
}

impl Callers {
    /// Creates Pods at the API server, one every `period`, until told to stop.
    pub(crate) async fn create(self: Arc<Self>, period: Duration) {
        let mut due = Instant::now();
        while !self.done.load(Ordering::Relaxed) {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let name = format!("shop-{number}");
            let pod = sets::pod(NAMESPACE, &name, number);
            let from = Instant::now();
            let called = match self.create_one(&name, &pod).await {
                Ok(pod) => judged(self.judge(&pod, from)),
                Err(called) => called,
            };
            self.tally.add(Way::ThroughApi, from, called);
            due = (due + period).max(Instant::now() - period);
            tokio::time::sleep_until(due.into()).await;
        }
    }

    /// Sends a Pod until the API server has it. That the API server itself is away is not what is tried here.
    async fn create_one(&self, name: &str, pod: &Value) -> Result<Value, Called> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        let mut again = false;
        loop {
            match self.ask(Method::POST, &path, pod.to_string().into_bytes()).await {
                Ok(pod) => return Ok(pod),
                Err(kube::Error::Api(status)) if status.message.contains("webhook") => {
                    return Err(Called::Lost(status.message.clone()));
                }
                // It had been stored before the connection ended.
                Err(kube::Error::Api(status)) if status.code == 409 && again => {
                    match self.ask(Method::GET, &format!("{path}/{name}"), Vec::new()).await {
                        Ok(pod) => return Ok(pod),
                        Err(error) => tracing::debug!(%error, "asked again"),
                    }
                }
                Err(kube::Error::Api(status)) if status.code != 429 && status.code < 500 => {
                    return Err(Called::Wrong(status.message.clone()));
                }
                Err(error) => self.tally.sent_again(error.to_string()),
            }
            again = true;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Changes a set every `period`, until told to stop. What could not be done while the API server was away is made up for.
    pub(crate) async fn change(self: Arc<Self>, set: usize, period: Duration) {
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !self.done.load(Ordering::Relaxed) {
            tick.tick().await;
            self.change_one(set).await;
        }
    }

    /// Changes a set. What gets lost is sent again: the Pods after it shall be judged by it.
    pub(crate) async fn change_one(&self, set: usize) {
        let next = self.sets.next(set);
        let mut again = false;
        loop {
            let from = Instant::now();
            let body = next.object().to_string().into_bytes();
            let answer = match next.is_first() {
                true => self.ask(Method::POST, SETS, body).await,
                false => self.ask(Method::PATCH, &format!("{SETS}/{}", next.name()), body).await,
            };
            let called = match answer {
                Ok(_) => Called::Good,
                Err(kube::Error::Api(status)) if status.message.contains("webhook") => {
                    Called::Lost(status.message.clone())
                }
                Err(kube::Error::Api(status)) if status.code == 409 && again => Called::Good,
                Err(kube::Error::Api(status)) if status.code != 429 && status.code < 500 => {
                    Called::Wrong(status.message.clone())
                }
                Err(error) => {
                    self.tally.sent_again(error.to_string());
                    again = true;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let lost = matches!(called, Called::Lost(_));
            self.tally.add(Way::Change, from, called);
            if !lost {
                return self.sets.stored(&next);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> kube::Result<Value> {
        let content_type =
            if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header("content-type", content_type);
        let request = request.body(body).expect("a good request");
        self.client.request(request).await
    }

    /// Sends `size` reviews at once, every second, until told to stop. When `most` bursts have not been answered whole, the next waits.
    pub(crate) async fn burst(self: Arc<Self>, trust: Arc<Trust>, size: u64, most: usize) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut bursts = JoinSet::new();
        while !self.done.load(Ordering::Relaxed) {
            tick.tick().await;
            while bursts.try_join_next().is_some()
                || bursts.len() >= most && bursts.join_next().await.is_some()
            {}
            let pool = trust.pool();
            self.tally.burst();
            let calls: JoinSet<()> = (0..size).map(|_| Arc::clone(&self).review(Arc::clone(&pool))).collect();
            bursts.spawn(async { drop(calls.join_all().await) });
        }
        bursts.join_all().await;
    }

    async fn review(self: Arc<Self>, pool: Arc<Pool>) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let pod = sets::pod(NAMESPACE, &format!("straight-{number}"), number);
        let uid = format!("00000000-0000-0000-0000-{number:012}");
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": uid,
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "namespace": NAMESPACE, "operation": "CREATE", "object": pod, "oldObject": null, "dryRun": false,
                "userInfo": {"username": "soak"}, "options": null,
            },
        });
        let from = Instant::now();
        let called = match pool.post(review.to_string().as_bytes()).await {
            Ok(answer) => judged(applied(&answer, &uid, pod).and_then(|pod| self.judge(&pod, from))),
            Err(why) => Called::Lost(why),
        };
        self.tally.add(Way::Straight, from, called);
    }

    /// Whether a Pod that was sent at `from` has what it has to have now.
    fn judge(&self, pod: &Value, from: Instant) -> Result<(), String> {
        let to = Instant::now();
        self.sets.judge(pod, from, to, self.tally.around_outage(from, to))
    }
}

/// Connections of clients that trust what the registration says, like an API server.
pub(crate) struct Trust {
    folder: PathBuf,
    listed: Listed,
    current: Mutex<(Vec<u8>, Arc<Pool>)>,
}

impl Trust {
    /// With the CA that the registration has now.
    pub(crate) async fn new(client: &kube::Client, folder: &Path, listed: &Listed) -> Result<Self, String> {
        let ca = registered_ca(client).await.map_err(|error| error.to_string())?;
        let current = Mutex::new((ca.clone(), pool(&ca, folder, listed)?));
        Ok(Self { folder: folder.to_owned(), listed: Arc::clone(listed), current })
    }

    /// Looks at the registration again and again, for as long as the runtime lives.
    pub(crate) async fn follow(self: Arc<Self>, client: kube::Client) {
        loop {
            tokio::time::sleep(PAUSE).await;
            // An API server that is away has changed nothing.
            let Ok(ca) = registered_ca(&client).await else { continue };
            if self.lock().0 != ca {
                let pool = pool(&ca, &self.folder, &self.listed).expect("a registered CA");
                *self.lock() = (ca, pool);
            }
        }
    }

    /// The CA that is registered now, as PEM.
    pub(crate) fn ca(&self) -> Vec<u8> {
        self.lock().0.clone()
    }

    fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.lock().1)
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<u8>, Arc<Pool>)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn registered_ca(client: &kube::Client) -> kube::Result<Vec<u8>> {
    let configuration = Api::<MutatingWebhookConfiguration>::all(client.clone()).get("sidecarset").await?;
    let webhook = configuration.webhooks.unwrap_or_default().into_iter().next();
    Ok(webhook.and_then(|webhook| webhook.client_config.ca_bundle).unwrap_or_default().0)
}

/// Connections to the replicas that are endpoints, each time another one by chance, as an API server does.
fn pool(ca: &[u8], folder: &Path, listed: &Listed) -> Result<Arc<Pool>, String> {
    let file = folder.join("registered-ca.crt");
    fs::write(&file, ca).map_err(|error| error.to_string())?;
    let url = format!("https://{}:443/mutate-pod?timeout=10s", service::HOST);
    let listed = Arc::clone(listed);
    let chance = RandomState::new();
    let dials = AtomicU64::new(0);
    Ok(Pool::new(Target::new(&url, &file, b"")?.dialing(move || {
        let mut hasher = chance.build_hasher();
        hasher.write_u64(dials.fetch_add(1, Ordering::Relaxed));
        let listed = listed.lock().unwrap_or_else(PoisonError::into_inner);
        let address = hasher.finish().checked_rem(listed.len() as u64).map(|at| listed[at as usize]);
        address.map_or_else(|| "no endpoint".to_owned(), |address| format!("{address}:{}", service::PORT))
    })))
}

/// The Pod after the answer's patch.
fn applied(answer: &[u8], uid: &str, mut pod: Value) -> Result<Value, String> {
    let review: Value = serde_json::from_slice(answer).map_err(|error| format!("the answer: {error}"))?;
    let response = &review["response"];
    if response["uid"] != uid || response["allowed"] != true {
        return Err(format!("the response to {uid}: {response}"));
    }
    if let Some(patch) = response["patch"].as_str() {
        let patch = STANDARD.decode(patch).map_err(|error| format!("the patch: {error}"))?;
        let patch: json_patch::Patch =
            serde_json::from_slice(&patch).map_err(|error| format!("the patch: {error}"))?;
        json_patch::patch(&mut pod, &patch).map_err(|error| format!("the patch: {error}"))?;
    }
    Ok(pod)
}

fn judged(verdict: Result<(), String>) -> Called {
    verdict.map_or_else(Called::Wrong, |()| Called::Good)
}
