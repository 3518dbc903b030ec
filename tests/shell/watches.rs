//! The API server as a source: first lists, changes, what breaks, and live reads of namespaces. Decision: D-23.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidecarset::draw::CountingDraw;
use sidecarset::metrics::Metrics;
use sidecarset::server::{self, AppState, RequestLimits};
use sidecarset::shutdown::Draining;
use sidecarset::source::namespace::SharedReads;
use sidecarset::source::publish::Published;
use sidecarset::source::watch::health::Health;
use sidecarset::source::watch::live::LiveNamespaces;
use sidecarset::source::watch::{self, Scope};
use sidecarset_core::context::Features;
use sidecarset_core::snapshot::SidecarSet;
use sidecarset_core::validation::Options;

use crate::fake_api::{FakeApi, status};
use crate::router::{Answer, mk_request, send};
use crate::support::{mk_review, until};

const SETS: &str = "sidecarsets";

/// A webhook in cluster mode before a fake API server.
struct Cluster {
    api: FakeApi,
    state: Arc<AppState>,
    health: Arc<Health>,
}

impl Cluster {
    /// Starts it; the caller waits for what it needs.
    fn start(api: FakeApi) -> Self {
        let (published, metrics) = (Arc::new(Published::default()), Arc::new(Metrics::new("test")));
        let scope = Scope { namespace: "ours".to_owned(), revision_namespace: "revisions".to_owned() };
        let client = api.client();
        let health = watch::start(&client, &scope, &published, &metrics);
        let reader = Arc::new(LiveNamespaces::new(client));
        let reads = SharedReads::new(reader, tokio::runtime::Handle::current(), Arc::clone(&metrics));
        let state = AppState::new(
            published,
            metrics,
            Arc::new(Draining::default()),
            Box::new(CountingDraw::default()),
            Features::default(),
            Options::default(),
            RequestLimits::default(),
        );
        Self { api, state: Arc::new(state.with_live_namespaces(Some(reads))), health }
    }

    /// The same, ready.
    async fn ready(api: FakeApi) -> Self {
        let cluster = Self::start(api);
        until("a Snapshot is there", || cluster.state.published.load().is_some()).await;
        cluster
    }

    /// Admits a Pod of a namespace with the label `app: web`.
    async fn admit(&self, namespace: &str) -> Answer {
        self.admit_within(namespace, "10s").await
    }

    async fn admit_within(&self, namespace: &str, timeout: &str) -> Answer {
        let mut review = mk_review();
        review["request"]["namespace"] = json!(namespace);
        review["request"]["object"]["metadata"]["namespace"] = json!(namespace);
        let mut request = mk_request(review.to_string());
        *request.uri_mut() = format!("/mutate-pod?timeout={timeout}").parse().expect("a path");
        send(server::app(Arc::clone(&self.state)), request).await
    }

    /// The names of the sets that were injected into a Pod of the namespace `team-a`.
    async fn injected(&self) -> String {
        let answer = self.admit("team-a").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let annotations = &answer.json()["response"]["auditAnnotations"];
        annotations["injected"].as_str().unwrap_or_default().to_owned()
    }

    async fn until_injected(&self, expected: &str) {
        let start = Instant::now();
        loop {
            let found = self.injected().await;
            if found == expected {
                return;
            }
            assert!(start.elapsed() < crate::support::PATIENCE, "{found:?} instead of {expected:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn metric(&self, line: &str) -> bool {
        self.state.metrics.text(0).expect("text").lines().any(|found| found == line)
    }
}

fn mk_set(name: &str) -> Value {
    json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
        "metadata": {"name": name, "managedFields": [{"manager": "kubectl"}]},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "containers": [{"name": format!("{name}-agent"), "image": "agent:1", "memberOfTomorrow": {"a": 1}}],
        },
    })
}

fn mk_selective_set(name: &str) -> Value {
    let mut set = mk_set(name);
    set["spec"]["namespaceSelector"] = json!({"matchLabels": {"env": "prod"}});
    set
}

fn mk_namespace(name: &str, labels: Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": name, "labels": labels}})
}

fn mk_api(sets: &[Value]) -> FakeApi {
    let api = FakeApi::new();
    api.put("namespaces", mk_namespace("team-a", json!({"env": "prod"})));
    sets.iter().for_each(|set| api.put(SETS, set.clone()));
    api
}

#[tokio::test]
async fn nothing_is_answered_before_every_first_list() {
    let api = mk_api(&[mk_set("one")]);
    let forbidden = "namespaces is forbidden: User \"u\" cannot list resource \"namespaces\"";
    api.refuse("namespaces", Some(status(403, "Forbidden", forbidden)));
    api.refuse(SETS, Some(status(404, "NotFound", "the server could not find the requested resource")));
    let cluster = Cluster::start(api);
    let told = || cluster.health.describe(Instant::now());
    until("both problems are known", || told().contains("forbidden") && told().contains("sidecarset crd |"))
        .await;
    assert!(
        told().contains("grant get, list, watch namespaces in the ClusterRole sidecarset-webhook"),
        "{}",
        told()
    );
    assert!(!cluster.health.is_complete());
    cluster.api.refuse(SETS, None);
    until("the sets are listed", || told().contains("SidecarSet: 1 in use")).await;
    let answer = cluster.admit("team-a").await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        message.contains("waiting for the first complete list of Namespace (namespaces is forbidden"),
        "{message}"
    );
    cluster.api.refuse("namespaces", None);
    until("a Snapshot is there", || cluster.state.published.load().is_some()).await;
    assert_eq!(cluster.injected().await, "one");
    assert!(cluster.health.is_complete() && !told().contains("forbidden"), "{}", told());
}

/// Decision: D-5.
#[tokio::test]
async fn sets_come_change_and_go() {
    let cluster = Cluster::ready(mk_api(&[])).await;
    assert_eq!(cluster.injected().await, "");
    cluster.api.put(SETS, mk_set("one"));
    cluster.api.put(SETS, mk_selective_set("two"));
    cluster.until_injected("one,two").await;
    let patch =
        cluster.admit("team-a").await.json()["response"]["patch"].as_str().unwrap_or_default().to_owned();
    let patch = base64_text(&patch);
    assert!(patch.contains(r#""memberOfTomorrow":{"a":1}"#), "{patch}");
    cluster.api.put("namespaces", mk_namespace("team-a", json!({"env": "test"})));
    cluster.until_injected("one").await;
    let mut paused = mk_set("one");
    paused["spec"]["injectionStrategy"] = json!({"paused": true});
    cluster.api.put(SETS, paused);
    cluster.until_injected("").await;
    cluster.api.put(SETS, mk_set("one"));
    cluster.until_injected("one").await;
    cluster.api.delete(SETS, "one");
    cluster.until_injected("").await;
}

/// A base and its canary, applied one after the other, faster than a watch tells.
#[tokio::test]
async fn a_refusal_is_judged_again_when_the_news_has_come() {
    let cluster = Cluster::ready(mk_api(&[])).await;
    let stored = |set: &Value| SidecarSet::from_file_document(set).expect("a set").document().clone();
    let mut canary = mk_set("canary");
    canary["metadata"]["annotations"] =
        json!({"apps.kruise.io/sidecarset-canary": "true", "apps.kruise.io/sidecarset-base": "base"});
    canary["metadata"]["managedFields"] = json!([]);
    canary["spec"]["updateStrategy"] = json!({"type": "NotUpdate"});
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "CREATE", "object": stored(&canary),
            "resource": {"group": "apps.kruise.io", "version": "v1beta1", "resource": "sidecarsets"},
        },
    });
    let validate = async || {
        let mut request = mk_request(review.to_string());
        *request.uri_mut() = "/validate-apps-kruise-io-sidecarset".parse().expect("a path");
        send(server::app(Arc::clone(&cluster.state)), request).await.json()["response"].clone()
    };
    let refused = validate().await;
    assert_eq!(refused["allowed"], false, "{refused}");
    assert!(refused.to_string().contains("there is no SidecarSet"), "{refused}");
    cluster.api.put(SETS, stored(&mk_set("base")));
    let allowed = validate().await;
    assert_eq!(allowed["allowed"], true, "{allowed}");
}

fn base64_text(text: &str) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    String::from_utf8(bytes).expect("text")
}

#[tokio::test]
async fn what_cannot_be_decoded_stops_nothing_else() {
    let mut bad = mk_set("bad");
    bad["spec"]["containers"] = json!(7);
    let no_object = json!({"metadata": {"name": "no-object!"}});
    let cluster = Cluster::ready(mk_api(&[mk_set("one"), bad.clone(), no_object])).await;
    assert_eq!(cluster.injected().await, "one");
    assert!(cluster.health.is_complete());
    let told = cluster.health.describe(Instant::now());
    assert!(told.contains("SidecarSet \"bad\" is left out: spec.containers"), "{told}");
    assert!(told.contains("SidecarSet \"\" is left out: it is no JSON object"), "{told}");
    assert!(cluster.metric("sidecarset_source_undecodable_objects{kind=\"SidecarSet\"} 2"));
    cluster.api.put(SETS, mk_set("bad"));
    cluster.until_injected("bad,one").await;
    cluster.api.put(SETS, bad);
    cluster.until_injected("one").await;
    assert!(cluster.metric("sidecarset_source_undecodable_objects{kind=\"SidecarSet\"} 2"));
}

#[tokio::test]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let cluster = Cluster::ready(mk_api(&[mk_set("one")])).await;
    let lists = cluster.api.calls(&[SETS, "limit=250"]);
    cluster.api.put(SETS, mk_set("two"));
    cluster.until_injected("one,two").await;
    cluster.api.cut(SETS, false);
    cluster.api.put(SETS, mk_set("three"));
    cluster.until_injected("one,three,two").await;
    assert_eq!(cluster.api.calls(&[SETS, "limit=250"]), lists, "no list is made again");
}

#[tokio::test]
async fn after_410_the_old_state_stays_until_the_new_list_is_complete() {
    let cluster = Cluster::ready(mk_api(&[mk_set("one"), mk_set("two")])).await;
    assert_eq!(cluster.injected().await, "one,two");
    cluster.api.refuse(SETS, Some(status(500, "InternalError", "etcd is away")));
    cluster.api.cut(SETS, true);
    cluster.api.delete(SETS, "one");
    cluster.api.put(SETS, mk_set("three"));
    cluster.api.cut(SETS, true);
    let told = || cluster.health.describe(Instant::now());
    until("the failure is told", || told().contains("answered 500: etcd is away")).await;
    assert_eq!(cluster.injected().await, "one,two");
    assert!(cluster.health.is_complete(), "a webhook that goes on answering stays in service");
    cluster.api.refuse(SETS, None);
    cluster.until_injected("three,two").await;
}

/// 1,200 objects come in five pages.
#[tokio::test]
async fn a_list_of_several_pages_is_one_list() {
    let api = mk_api(&[]);
    for n in 0..1200 {
        let mut set = mk_set(&format!("s{n}"));
        set["spec"]["selector"]["matchLabels"] = json!({"app": format!("app-{n}")});
        api.put(SETS, set);
    }
    let cluster = Cluster::ready(api).await;
    assert_eq!(cluster.state.published.load().as_ref().map(|snapshot| snapshot.set_count()), Some(1200));
    assert_eq!(cluster.api.calls(&[SETS, "limit=250"]), 5);
}

#[tokio::test]
async fn the_age_begins_anew_with_a_bookmark_of_every_watch() {
    let cluster = Cluster::ready(mk_api(&[])).await;
    let kinds = ["namespaces", "controllerrevisions", "configmaps", SETS];
    let is_open = |kind: &&str| cluster.api.calls(&[&format!("/{kind}?"), "watch=true"]) == 1;
    until("every watch is open", || kinds.iter().all(&is_open)).await;
    let far = Instant::now() + Duration::from_secs(60);
    let age = || cluster.health.age(far).expect("listed");
    let bookmarked = Instant::now();
    for kind in kinds.into_iter().take(3) {
        cluster.api.bookmark(kind);
    }
    // Once the Namespace is seen, the bookmarks before it are too.
    cluster.api.put("namespaces", mk_namespace("team-b", json!({})));
    until("the change is seen", || cluster.health.describe(far).contains("Namespace: 2 in use")).await;
    assert!(age() > far - bookmarked, "the sets were not heard of since");
    cluster.api.bookmark(SETS);
    until("all have been heard of", || age() <= far - bookmarked).await;
}

/// Rule: I-REV-6, I-REV-7.
#[tokio::test]
async fn a_pinned_set_follows_its_revisions() {
    let mut set = mk_set("one");
    set["spec"]["injectionStrategy"] = json!({"revision": {"customVersion": "v1", "policy": "Always"}});
    let revision = |name: &str, number: i64, image: &str| {
        json!({"kind": "ControllerRevision", "apiVersion": "apps/v1", "revision": number,
            "metadata": {"name": name, "labels": {"kruise.io/sidecarset-name": "one", "apps.kruise.io/sidecarset-custom-version": "v1"}},
            "data": {"spec": {"$patch": "replace", "containers": [{"name": "old-agent", "image": image}]}}})
    };
    let cluster = Cluster::ready(mk_api(&[set])).await;
    let patch_has = async |text: &str| {
        let answer = cluster.admit("team-a").await.json();
        answer["response"]["patch"].as_str().is_some_and(|patch| base64_text(patch).contains(text))
    };
    let answer = cluster.admit("team-a").await.json();
    assert_eq!(answer["response"]["allowed"], false, "there is no such revision: {answer}");
    for (name, number, image) in [("one-a", 1, "agent:old"), ("one-b", 2, "agent:newer")] {
        cluster.api.put("controllerrevisions", revision(name, number, image));
        let start = Instant::now();
        while !patch_has(image).await {
            assert!(start.elapsed() < crate::support::PATIENCE, "{image} is never injected");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(
        cluster.api.calls(&["/apis/apps/v1/namespaces/revisions/controllerrevisions?", "watch=true"]),
        1
    );
}

#[tokio::test]
async fn a_fresh_namespace_is_read_live() {
    let cluster = Cluster::ready(mk_api(&[mk_set("all"), mk_selective_set("prod")])).await;
    cluster.api.put_fresh("fresh", json!({"env": "prod"}));
    cluster.api.put_fresh("other", json!({"env": "test"}));
    let injected = async |namespace: &str| {
        let answer = cluster.admit(namespace).await.json();
        answer["response"]["auditAnnotations"]["injected"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(injected("fresh").await, "all,prod");
    assert_eq!(injected("other").await, "all");
    assert_eq!(injected("team-a").await, "all,prod");
    assert_eq!(cluster.api.reads(), 2, "what is listed is not read");

    let answer = cluster.admit("gone").await.json();
    assert_eq!(answer["response"]["auditAnnotations"]["injected"], "all");
    assert!(
        answer["response"]["warnings"][0]
            .as_str()
            .is_some_and(|text| text.contains("\"gone\" does not exist"))
    );
    assert_eq!(
        cluster.admit("no/such%20name").await.json()["response"]["warnings"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(cluster.api.reads(), 3, "no request is made of what is no name");
    assert!(cluster.metric("sidecarset_namespace_live_reads_total{result=\"found\"} 2"));
    assert!(cluster.metric("sidecarset_namespace_live_reads_total{result=\"not_found\"} 2"));
}

/// Decision: D-22.
#[tokio::test]
async fn a_live_read_that_fails_is_our_fault() {
    let cluster = Cluster::ready(mk_api(&[mk_selective_set("prod")])).await;
    let message = |answer: &Answer| answer.json()["message"].as_str().unwrap_or_default().to_owned();
    let cases = [
        (status(500, "InternalError", "etcd is away"), 503),
        // Not the API server's own words: something between us says so.
        (status(404, "Failed to parse error data", "not found"), 503),
        (status(403, "Forbidden", "user u cannot get namespaces"), 500),
    ];
    for (refusal, code) in cases {
        cluster.api.refuse_reads(Some(refusal.clone()));
        let answer = cluster.admit("fresh").await;
        assert_eq!(answer.status, code, "{}", answer.text);
        let told = message(&answer);
        assert!(
            told.contains("\"fresh\"") && told.contains(refusal["message"].as_str().unwrap_or("?")),
            "{told}"
        );
    }
    cluster.api.refuse_reads(None);
    cluster.api.hold_reads(true);
    let answer = cluster.admit_within("fresh", "200ms").await;
    assert_eq!(answer.status, 504, "{}", answer.text);
    assert!(message(&answer).contains("\"fresh\""), "{}", answer.text);
    assert!(cluster.metric("sidecarset_namespace_live_reads_total{result=\"failed\"} 3"));
}

#[tokio::test]
async fn many_pods_share_one_read() {
    let cluster = Arc::new(Cluster::ready(mk_api(&[mk_selective_set("prod")])).await);
    cluster.api.put_fresh("fresh", json!({"env": "prod"}));
    cluster.api.hold_reads(true);
    let impatient = cluster.admit_within("fresh", "100ms").await;
    assert_eq!(impatient.status, 504, "the one who asked first goes away");
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let cluster = Arc::clone(&cluster);
            tokio::spawn(async move { cluster.admit("fresh").await.json() })
        })
        .collect();
    until("all are in flight", || cluster.state.in_flight() == 50).await;
    cluster.api.hold_reads(false);
    for answer in asking {
        assert_eq!(answer.await.expect("answered")["response"]["auditAnnotations"]["injected"], "prod");
    }
    assert_eq!(cluster.api.reads(), 1);
    assert_eq!(cluster.admit("fresh").await.status, 200);
    assert_eq!(cluster.api.reads(), 2, "its end is not remembered");
}
