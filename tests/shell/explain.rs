//! `sidecarset explain` as a person and a program see it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const SETS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: kruise-configuration}
data: {SidecarSet_PatchPodMetadata_WhiteList: '{"rules":[{"allowedAnnotationKeyExprs":["^team$"]}]}'}
---
apiVersion: apps.kruise.io/v1beta1
kind: SidecarSet
metadata: {name: agents}
spec:
  selector: {matchLabels: {app: web}}
  containers:
  - name: agent
    image: agent:1
    podInjectPolicy: AfterAppContainer
    shareVolumePolicy: {type: enabled}
    volumeMounts: [{name: spool, mountPath: /spool}]
    transferEnv: [{sourceContainerName: main, envName: ZONE}]
    resourcesPolicy:
      targetContainersMode: sum
      targetContainersNameRegex: ".*"
      resourcesExpr: {limits: {cpu: "cpu*50%"}}
  volumes: [{name: spool, emptyDir: {}}]
  imagePullSecrets: [{name: pull}]
  patchPodMetadata: [{annotations: {team: web}, patchPolicy: Retain}]
---
apiVersion: apps.kruise.io/v1beta1
kind: SidecarSet
metadata: {name: backend}
spec:
  selector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: In, values: [back, middle]}]}
  containers: [{name: b, image: "b:1"}]
---
apiVersion: apps.kruise.io/v1beta1
kind: SidecarSet
metadata: {name: elsewhere}
spec:
  selector: {matchLabels: {app: web}}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: other}}
  containers: [{name: e, image: "e:1"}]
---
apiVersion: apps.kruise.io/v1beta1
kind: SidecarSet
metadata: {name: stopped}
spec:
  selector: {matchLabels: {app: web}}
  injectionStrategy: {paused: true}
  containers: [{name: o, image: "o:1"}]
---
apiVersion: apps.kruise.io/v1beta1
kind: SidecarSet
metadata: {name: named}
spec:
  selector: {matchLabels: {app: web}}
  containers: [{name: nn, image: "n:1"}]
"#;

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: shop, labels: {app: web, tier: front}, annotations: {sidecarset.kruise.io/skip: named}}
spec:
  containers:
  - name: main
    image: nginx
    env: [{name: ZONE, value: a}]
    volumeMounts: [{name: data, mountPath: /data}]
    resources: {limits: {cpu: 200m}}
  volumes: [{name: data, emptyDir: {}}]
"#;

const TOLD: &str = "\
Pod default/shop: patched, 1 of 5 SidecarSets apply

SidecarSet agents: applied, as it is now
  + containers agent, after the Pod's own
      env ZONE from container main
      volumeMount /data from container main
      resources \"limits\":{\"cpu\":\"100m\"}
  + volume spool
  + pull secret pull
  + patchPodMetadata team

SidecarSet backend: not matched
  the Pod does not meet tier in (back, middle): its label tier is \"front\" [I-MATCH-7]

SidecarSet elsewhere: not matched
  namespace default does not meet kubernetes.io/metadata.name=other: its label kubernetes.io/metadata.name is \"default\" [I-MATCH-6]

SidecarSet named: skipped
  the Pod names it in sidecarset.kruise.io/skip [D-26]

SidecarSet stopped: not matched
  injection paused: spec.injectionStrategy.paused is true [I-MATCH-5]

annotations written
";

fn explain(sets: &str, pod: &str, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("temporary folder");
    let folder = dir.path().join("sets");
    fs::create_dir(&folder).expect("made");
    fs::write(folder.join("sets.yaml"), sets).expect("written");
    let file = dir.path().join("pod.yaml");
    fs::write(&file, pod).expect("written");
    run(&folder, &file, args)
}

fn run(folder: &Path, file: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sidecarset"))
        .arg("explain")
        .args(["--sidecarsets".as_ref(), folder.as_os_str(), "-f".as_ref(), file.as_os_str()])
        .args(args)
        .output()
        .expect("ended")
}

#[test]
fn a_person_reads_every_set_with_its_reason() {
    let output = explain(SETS, POD, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.get(..TOLD.len()), Some(TOLD), "{text}");
    assert!(text.contains("\n  team: web\n"), "{text}");
}

/// What the page for users shows is what the program prints.
#[test]
fn the_page_on_injection_shows_real_output() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/injection.md")).expect("readable");
    let command = "$ sidecarset explain -f examples/pod.yaml --sidecarsets examples/sidecarsets\n";
    let (shown, _) = page.split_once(command).expect("the command").1.split_once("```").expect("its end");
    let output = run(&root.join("examples/sidecarsets"), &root.join("examples/pod.yaml"), &[]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.split_once("\nannotations written").map(|(told, _)| told), Some(shown));
}

#[test]
fn a_program_reads_the_same() {
    let output = explain(SETS, POD, &["-o", "json"]);
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let explanation = &all[0];
    assert_eq!(explanation["verdict"], "patched");
    let outcomes: Vec<_> =
        explanation["sets"].as_array().expect("a list").iter().map(|set| &set["outcome"]).collect();
    assert_eq!(outcomes, ["applied", "not matched", "not matched", "skipped", "not matched"]);
    assert_eq!(explanation["sets"][0]["containers"][0]["taken"][0]["from"], "main");
    assert_eq!(explanation["sets"][1]["reason"]["rule"], "I-MATCH-7");
}

#[test]
fn a_denial_names_the_set_at_fault() {
    let broken = SETS.replace("\".*\"", "nobody");
    let output = explain(&broken, POD, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("SidecarSet agents: at fault\n"), "{text}");
    assert!(text.contains("\"nobody\""), "{text}");
}

#[test]
fn a_file_without_pods_cannot_be_explained() {
    let output = explain(SETS, "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no Pod"), "{output:?}");
}
