//! The recorded answers about containers and volumes, and what the recording leaves open.

mod tables;

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Output, validate};

const RECORDED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/sidecarset/validate.jsonl"));
const PRIVILEGED_OFF: &str = "--allow-privileged=false";

#[derive(Deserialize)]
struct Record {
    name: String,
    object: Value,
    flags: Option<Value>,
    upstream: Answer,
    expected: Option<Answer>,
    #[serde(default)]
    optional: Vec<Finding>,
}

#[derive(Deserialize)]
struct Answer {
    allowed: Option<bool>,
    findings: Option<BTreeSet<Finding>>,
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    field: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Finding {
    /// Whether the finding comes from a rule of this module: others use no index behind the list, and `spec` only when it is required.
    fn is_ours(&self) -> bool {
        ["spec.volumes[", "spec.containers[", "spec.initContainers["]
            .iter()
            .any(|list| self.field.starts_with(list))
            || self.field == "spec.hostNetwork"
            || (self.field == "spec" && self.kind != "FieldValueRequired")
    }
}

/// The recorded findings of our rules; `None` if the record does not tell.
fn recorded(record: &Record) -> Option<BTreeSet<Finding>> {
    let answer =
        record.expected.as_ref().filter(|answer| answer.findings.is_some()).unwrap_or(&record.upstream);
    match (&answer.findings, answer.allowed) {
        (Some(findings), _) => Some(findings.iter().filter(|finding| finding.is_ours()).cloned().collect()),
        (None, Some(true)) => Some(BTreeSet::new()),
        (None, _) => None,
    }
}

fn found(output: &Output) -> BTreeSet<Finding> {
    let pairs = output.findings.iter();
    pairs
        .map(|finding| Finding { field: finding.path.clone(), kind: finding.kind.as_str().to_owned() })
        .collect()
}

#[test]
fn every_recorded_answer_is_met() {
    let mut judged = 0;
    let mut differences = Vec::new();
    for line in RECORDED.lines() {
        let record: Record = serde_json::from_str(line).unwrap();
        let Some(mut expected) = recorded(&record) else { continue };
        let allow_privileged = record.flags.as_ref().is_none_or(|flags| flags != PRIVILEGED_OFF);
        let mut found = found(&validate(&record.object["spec"], allow_privileged));
        expected.retain(|finding| !record.optional.contains(finding));
        found.retain(|finding| !record.optional.contains(finding));
        judged += 1;
        if found != expected {
            let only = |a: &BTreeSet<Finding>, b: &BTreeSet<Finding>| {
                format!("{:?}", a.difference(b).collect::<Vec<_>>())
            };
            let (missing, extra) = (only(&expected, &found), only(&found, &expected));
            differences.push(format!("{}: missing {missing}, extra {extra}\n", record.name));
        }
    }
    let first: String = differences.iter().take(20).map(String::as_str).collect();
    assert!(differences.is_empty(), "{} of {judged} records differ:\n{first}", differences.len());
    assert_eq!(judged, 1910);
}

/// A spec with one container that has `members` besides what every container needs.
fn with_container(members: &Value) -> Value {
    json!({"containers": [completed("sidecar", members)]})
}

/// A spec with one init container, in the same way.
fn with_init_container(members: &Value) -> Value {
    json!({"initContainers": [completed("init", members)]})
}

/// A spec with one container and these volumes.
fn with_volumes(volumes: &Value) -> Value {
    json!({"containers": [completed("sidecar", &json!({}))], "volumes": volumes})
}

fn completed(name: &str, members: &Value) -> Value {
    let mut container = json!({
        "name": name, "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File",
    });
    let map = container.as_object_mut().unwrap();
    map.extend(members.as_object().unwrap().clone());
    container
}

/// Path and kind of each finding, sorted: `spec.containers[0].name Required`.
fn findings(spec: &Value) -> Vec<String> {
    let pairs = found(&validate(spec, true)).into_iter();
    pairs.map(|pair| format!("{} {}", pair.field, pair.kind.trim_start_matches("FieldValue"))).collect()
}

fn warnings(spec: &Value) -> Vec<String> {
    validate(spec, true).warnings.into_iter().map(|warning| warning.path).collect()
}

/// Asserts that `spec` is accepted, with one warning at `path`.
fn assert_warned(spec: &Value, path: &str) {
    assert_eq!(findings(spec), Vec::<String>::new(), "{spec}");
    assert_eq!(warnings(spec), [path], "{spec}");
}

#[test]
fn d_14_a_startup_probe_is_checked_as_if_defaulted() {
    for probe in [
        json!({"exec": {"command": ["x"]}}),
        json!({"httpGet": {"port": 80}}),
        json!({"httpGet": {"port": "http", "path": "", "scheme": ""}, "successThreshold": 1}),
    ] {
        assert_eq!(
            findings(&with_container(&json!({"startupProbe": probe}))),
            Vec::<String>::new(),
            "{probe}"
        );
    }
    let probe = json!({"httpGet": {"port": 80, "scheme": "FTP"}, "successThreshold": 2});
    assert_eq!(
        findings(&with_container(&json!({"startupProbe": probe}))),
        [
            "spec.containers[0].startupProbe.httpGet.scheme NotSupported",
            "spec.containers[0].startupProbe.successThreshold Invalid",
        ]
    );
}

#[test]
fn d_16_what_newer_kubernetes_takes_is_accepted_with_a_warning() {
    let container = |members: Value| with_container(&members);
    assert_warned(&container(json!({"env": [{"name": "1 a"}]})), "spec.containers[0].env[0].name");
    let prefix = json!({"envFrom": [{"prefix": "1", "secretRef": {"name": "s"}}]});
    assert_warned(&container(prefix), "spec.containers[0].envFrom[0].prefix");
    let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 0}}}});
    assert_warned(&container(hook), "spec.containers[0].lifecycle.preStop.sleep");
    assert_warned(&container(json!({"restartPolicy": "Never"})), "spec.containers[0].restartPolicy");
    let init = |members: Value| with_init_container(&members);
    assert_warned(&init(json!({"restartPolicy": "OnFailure"})), "spec.initContainers[0].restartPolicy");
    let resize = json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}]);
    let sidecar = json!({"restartPolicy": "Always", "resizePolicy": resize});
    assert_warned(&init(sidecar), "spec.initContainers[0].resizePolicy");
    let mut spec = container(json!({"volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": "a"}]}));
    spec["volumes"] = json!([{"name": "v", "image": {"reference": "r", "pullPolicy": "Always"}}]);
    assert_warned(&spec, "spec.containers[0].volumeMounts[0].subPath");
}

#[test]
fn d_17_what_only_a_newer_kubernetes_knows_is_left_to_the_api_server() {
    let mut spec = with_container(&json!({
        "volumeMounts": [{"name": "v", "mountPath": "/m"}],
        "env": [{"name": "A", "valueFrom": {"fileKeyRef": {"key": "k"}}}],
    }));
    spec["volumes"] = json!([{"name": "v", "future": {}}]);
    assert_eq!(findings(&spec), Vec::<String>::new());
    assert_eq!(warnings(&spec), ["spec.volumes[0]", "spec.containers[0].env[0].valueFrom"]);
    assert_eq!(
        findings(&with_volumes(&json!([{"name": "v", "future": null}]))),
        ["spec.volumes[0] Required"]
    );
    let with_known = with_volumes(&json!([{"name": "v", "future": {}, "nfs": {"server": "s", "path": "/"}}]));
    assert_eq!((findings(&with_known), warnings(&with_known)), (vec![], vec![]));
}

/// Decision: D-19.
#[test]
fn d_19_no_stand_in_container_or_claim_takes_part() {
    let mut init = with_init_container(&json!({"name": "test"}));
    let claim =
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": 1}}}});
    init["volumes"] = json!([
        {"name": "eph", "ephemeral": {"volumeClaimTemplate": claim}},
        {"name": "v", "persistentVolumeClaim": {"claimName": "test-eph"}},
    ]);
    assert_eq!(findings(&init), Vec::<String>::new());
}

#[test]
fn a_val_24_without_containers_nothing_is_checked() {
    assert_eq!(findings(&json!({"volumes": [{}]})), Vec::<String>::new());
    assert_eq!(
        findings(&json!({"volumes": [{}], "containers": [], "initContainers": null})),
        Vec::<String>::new()
    );
    assert_eq!(findings(&Value::Null), Vec::<String>::new());
}

#[test]
fn a_finding_names_what_was_found_and_what_would_be_right() {
    let details = |spec: &Value| -> Vec<String> {
        validate(spec, true).findings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        details(&with_container(&json!({"imagePullPolicy": "Often", "name": "A".repeat(80)}))),
        [
            format!(
                "spec.containers[0].name: found \"{}…\", must be at most 63 lower-case letters, digits and hyphens, \
                 with a letter or digit at both ends [A-CORE-31]",
                "A".repeat(60)
            ),
            "spec.containers[0].imagePullPolicy: found \"Often\", must be one of Always, IfNotPresent, Never [A-CORE-60]"
                .to_owned(),
        ]
    );
    let volume = json!([{"name": "v", "gcePersistentDisk": {"pdName": "p", "partition": 256}}]);
    assert_eq!(
        details(&with_volumes(&volume)),
        ["spec.volumes[0].persistentDisk.partition: found 256, must be from 0 to 255 [A-CORE-30]"]
    );
}

/// Every place below `value` as a JSON pointer.
fn pointers(value: &Value, prefix: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(list) => {
            list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (name, child) in children {
        let pointer = format!("{prefix}/{name}");
        pointers(child, &pointer, found);
        found.push(pointer);
    }
}

#[test]
fn nothing_panics_on_values_of_any_type() {
    let junk =
        [json!(null), json!(-7), json!("é\\"), json!([null]), json!({"name": {}, "/": [[]]}), json!(1e300)];
    let mut validated = 0;
    for line in RECORDED.lines().step_by(40) {
        let record: Record = serde_json::from_str(line).unwrap();
        let spec = &record.object["spec"];
        let mut places = Vec::new();
        pointers(spec, "", &mut places);
        for (place, junk) in places.iter().flat_map(|place| junk.iter().map(move |junk| (place, junk))) {
            let mut broken = spec.clone();
            *broken.pointer_mut(place).unwrap() = junk.clone();
            let output = validate(&broken, true);
            assert!(output.findings.iter().all(|finding| finding.path.starts_with("spec")), "{place} {junk}");
            validated += 1;
        }
    }
    assert!(validated > 1000, "{validated}");
}
