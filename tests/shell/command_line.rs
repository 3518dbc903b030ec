//! `sidecarset inject` as a person runs it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use sidecarset::server::{self, RequestLimits};
use sidecarset::source::documents;

use crate::router;
use crate::support::{LOG_AGENT, mk_review, mk_state};

/// Sets that do every kind of thing to a Pod with the label `app: web`.
fn mk_sets() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary folder");
    fs::write(dir.path().join("sets.yaml"), LOG_AGENT).expect("written");
    dir
}

fn inject(sets: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidecarset"))
        .args(["inject", "--sidecarsets", sets.to_str().expect("text"), "-f", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    // The program may end without reading, for example when the folder is bad.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("ended")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// The documents on stdout of a run that must succeed.
fn injected(args: &[&str], input: &str) -> Vec<Value> {
    let output = inject(mk_sets().path(), args, input);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    documents::parse(text(&output.stdout)).into_iter().map(|d| d.expect("readable")).collect()
}

fn container_names(pod: &Value) -> Vec<&str> {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).map(Vec::as_slice);
    containers.unwrap_or_default().iter().filter_map(|c| c["name"].as_str()).collect()
}

const POD: &str = "\
kind: Pod
apiVersion: v1
metadata:
  name: shop
  labels: {app: web}
spec:
  containers:
  - name: main
    image: nginx:1.27
    args: [\"on\", \"0644\", \"1e3\", \"~\"]
  unknownMember: {z: 1, a: [yes, 1.50]}
";

const TEMPLATE: &str = "{metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: nginx}]}}";

#[test]
fn a_pod_is_injected_and_keeps_its_members_in_order() {
    let documents = injected(&[], POD);
    let pod = documents.first().expect("one document");
    assert_eq!(container_names(pod), ["main", "log-agent"]);
    assert_eq!(
        pod.as_object().expect("an object").keys().collect::<Vec<_>>(),
        ["kind", "apiVersion", "metadata", "spec"]
    );
    assert_eq!(
        pod.pointer("/spec/containers/0/args"),
        Some(&json!(["on", "0644", "1e3", "~"])),
        "text stays text"
    );
    assert_eq!(pod.pointer("/spec/unknownMember"), Some(&json!({"z": 1, "a": [true, 1.5]})));
    let hash = pod["metadata"]["annotations"]["kruise.io/sidecarset-hash"].as_str().unwrap_or_default();
    assert!(hash.contains("logging"), "{pod}");
}

#[test]
fn the_templates_of_workloads_are_injected() {
    let namespaced = "metadata: {name: w, namespace: team-a}\nspec:\n  replicas: 3\n";
    for (version, kind, at) in [
        ("apps/v1", "Deployment", "/spec/template"),
        ("apps/v1", "StatefulSet", "/spec/template"),
        ("apps/v1", "DaemonSet", "/spec/template"),
        ("apps/v1", "ReplicaSet", "/spec/template"),
        ("batch/v1", "Job", "/spec/template"),
        ("batch/v1", "CronJob", "/spec/jobTemplate/spec/template"),
    ] {
        let template = match kind {
            "CronJob" => format!("  jobTemplate: {{spec: {{template: {TEMPLATE}}}}}\n"),
            _ => format!("  template: {TEMPLATE}\n"),
        };
        let documents =
            injected(&[], &format!("apiVersion: {version}\nkind: {kind}\n{namespaced}{template}"));
        let workload = documents.first().expect("one document");
        let pod = workload.pointer(at).unwrap_or_else(|| panic!("{kind}: {workload}"));
        assert_eq!(container_names(pod), ["main", "log-agent"], "{kind}");
        assert!(
            pod.get("kind").is_none() && pod.get("apiVersion").is_none(),
            "a template has no kind: {pod}"
        );
        assert_eq!(workload["spec"]["replicas"], 3);
        assert_eq!(
            workload["metadata"],
            json!({"name": "w", "namespace": "team-a"}),
            "{kind} itself stays as it is"
        );
    }
}

#[test]
fn lists_and_several_documents_are_walked_and_others_pass_through() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {containers: [{name: x}]}\n";
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: ConfigMap, data: {{a: \"1\"}}}}\n- {{apiVersion: apps/v1, kind: Deployment, metadata: {{name: d}}, spec: {{template: {TEMPLATE}}}}}\n"
    );
    let other = POD.replace("app: web", "app: other");
    let found = injected(&[], &format!("{service}---\n{POD}---\n# nothing\n---\n{list}---\n{other}"));
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found.first(), documents::parse(service).into_iter().next().expect("one").ok().as_ref());
    assert_eq!(found.get(1).map(container_names), Some(vec!["main", "log-agent"]));
    assert_eq!(found.get(2).and_then(|l| l.pointer("/items/0/data/a")), Some(&json!("1")));
    let template = found.get(2).and_then(|l| l.pointer("/items/1/spec/template")).expect("a template");
    assert_eq!(container_names(template), ["main", "log-agent"]);
    assert_eq!(
        found.get(3),
        documents::parse(&other).into_iter().next().expect("one").ok().as_ref(),
        "not matched"
    );
}

#[test]
fn json_goes_in_and_out() {
    let pod = documents::parse(POD).remove(0).expect("readable");
    let output = inject(mk_sets().path(), &["-o", "json"], &pod.to_string());
    let printed: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(container_names(&printed), ["main", "log-agent"]);
    let mut rest = printed.clone();
    rest["spec"]["containers"].as_array_mut().expect("a list").truncate(1);
    rest["metadata"].as_object_mut().expect("an object").remove("annotations");
    assert_eq!(rest, pod, "nothing of the Pod is lost");
}

#[test]
fn the_patch_is_one_line_a_pod() {
    let other = POD.replace("app: web", "app: other");
    let output = inject(mk_sets().path(), &["-o", "patch"], &format!("{other}---\n{POD}"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines.first(), Some(&"[]"));
    let patch: json_patch::Patch = serde_json::from_str(lines.last().expect("two")).expect("a patch");
    let mut pod = documents::parse(POD).remove(0).expect("readable");
    json_patch::patch(&mut pod, &patch).expect("applies");
    assert_eq!(container_names(&pod), ["main", "log-agent"]);
}

/// The webhook and the command give the same text, but for the time of injection: so the command runs between two equal
/// answers of the webhook.
#[tokio::test]
async fn the_patch_is_the_webhooks() {
    let app = server::app(mk_state(RequestLimits::default()));
    let pod = mk_review()["request"]["object"].to_string();
    loop {
        let post = async || {
            let answer = router::send(app.clone(), router::mk_request(mk_review().to_string())).await;
            let review: Value = serde_json::from_str(&answer.text).expect("JSON");
            router::decode_patch(&review["response"]) + "\n"
        };
        let before = post().await;
        let output = inject(mk_sets().path(), &["-o", "patch"], &pod);
        if before == post().await {
            assert_eq!(text(&output.stdout), before);
            break;
        }
    }
}

#[test]
fn the_namespace_is_the_objects_else_the_flags() {
    let sets = tempfile::tempdir().expect("temporary folder");
    let only_team_a = LOG_AGENT.replace("spec:\n", "spec:\n  namespace: team-a\n");
    fs::write(sets.path().join("sets.yaml"), only_team_a).expect("written");
    let in_team_b = POD.replace("name: shop", "name: shop\n  namespace: team-b");
    for (input, args, expected) in
        [(POD, &["-n", "team-a"][..], "log-agent"), (POD, &[], ""), (&in_team_b, &["-n", "team-a"], "")]
    {
        let output = inject(sets.path(), args, input);
        assert_eq!(text(&output.stdout).contains("log-agent"), !expected.is_empty(), "{args:?} {input}");
    }
}

#[test]
fn a_denial_exits_1_and_prints_no_document() {
    let broken = "apiVersion: v1\nkind: Pod\nmetadata: {name: b, labels: {app: 5}}\nspec: {containers: []}\n";
    let output = inject(mk_sets().path(), &[], &format!("{POD}---\n{broken}"));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "", "all or nothing");
    let people = text(&output.stderr);
    assert!(people.contains("denied: Pod default/b: "), "{people}");
}

#[test]
fn what_cannot_run_exits_2_and_says_why() {
    let bad_sets = tempfile::tempdir().expect("temporary folder");
    let bad = LOG_AGENT.replace("matchLabels:", "matchExpressions: 7\n    matchLabels:");
    fs::write(
        bad_sets.path().join("bad.yaml"),
        format!("{LOG_AGENT}---\n{}", bad.replace("logging", "other")),
    )
    .expect("written");
    let good = mk_sets();
    let no_template = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n";
    for (sets, args, input, hints) in [
        (
            bad_sets.path(),
            &[][..],
            POD,
            &["bad.yaml: document 2: ", "\"other\"", "spec.selector.matchExpressions"][..],
        ),
        (Path::new("/does/not/exist"), &[], POD, &["/does/not/exist: cannot read the folder"]),
        (good.path(), &[], "a: [", &["-: document 1: not readable"]),
        (good.path(), &[], "", &["found no document"]),
        (good.path(), &[], "just text", &["-: document 1: kind: not found"]),
        (good.path(), &[], no_template, &["-: document 1: spec.template: not found", "Deployment default/d"]),
        (good.path(), &["-o", "xml"], POD, &["--output", "yaml, json, patch"]),
        (good.path(), &["--feature-gates", "X=true"], POD, &["--feature-gates", "SortSidecarContainers"]),
    ] {
        let output = inject(sets, args, input);
        let people = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{people}");
        assert_eq!(text(&output.stdout), "");
        for hint in hints {
            assert!(people.contains(hint), "{hint:?} is not in {people}");
        }
    }
    let sets = good.path().to_str().expect("text");
    let output = Command::new(env!("CARGO_BIN_EXE_sidecarset"))
        .args(["inject", "--sidecarsets", sets, "-f", "/does/not/exist.yaml"])
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--filename /does/not/exist.yaml: cannot read"));
}

#[test]
fn a_file_is_read_by_name() {
    let (sets, dir) = (mk_sets(), tempfile::tempdir().expect("temporary folder"));
    let file = dir.path().join("pod.yaml");
    fs::write(&file, POD).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_sidecarset"))
        .args([
            "inject",
            "--sidecarsets",
            sets.path().to_str().expect("text"),
            "-f",
            file.to_str().expect("text"),
        ])
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("log-agent"));
}
