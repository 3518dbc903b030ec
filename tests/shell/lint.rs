//! `sidecarset lint` and `sidecarset crd` as a person and a program run them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use sidecarset::source::documents;

use crate::support::LOG_AGENT;

fn run(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidecarset"))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    // The program may end without reading.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("ended")
}

/// Lints files of a folder of their own; the folder is the working directory.
fn lint(files: &[(&str, &str)], args: &[&str]) -> (i32, String, String) {
    let dir = tempfile::tempdir().expect("temporary folder");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("written");
    }
    let output = run(dir.path(), &[&["lint"], args].concat(), "");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("a code"), text(output.stdout), text(output.stderr))
}

const BROKEN: &str = "\
# The second document of this file is for somebody else.
apiVersion: apps.kruise.io/v1beta1
kind: SidecarSet
metadata:
  name: broken
spec:
  selector:
    matchLabels: {app: web}
  containers:
  - name: agent
    image: agent:1
    podInjectPolicy: Sideways
---
apiVersion: v1
kind: Service
metadata: {name: other}
";

#[test]
fn a_person_sees_the_line() {
    let (code, stdout, stderr) = lint(&[("sets.yaml", BROKEN)], &["-f", "sets.yaml"]);
    let expected = "\
error[A-VAL-31]: SidecarSet \"broken\": spec.container.podInjectPolicy: spec.containers[0].podInjectPolicy: found \"Sideways\", must be \
\"BeforeAppContainer\" or \"AfterAppContainer\"
  --> sets.yaml:12:22
    |
 12 |     podInjectPolicy: Sideways
    |                      ^
  = hint: spec.containers.podInjectPolicy: Where it goes: BeforeAppContainer (default of containers) or AfterAppContainer (default of \
initContainers).

";
    assert_eq!(stdout, expected);
    assert_eq!(stderr, "1 error(s), 0 warning(s) in 1 file(s)\n");
    assert_eq!(code, 1);
}

#[test]
fn a_program_sees_the_same() {
    let files = [("sets.yaml", BROKEN)];
    let (code, stdout, _) = lint(&files, &["-f", ".", "-o", "json"]);
    assert_eq!(code, 1);
    let found: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    let first = &found[0];
    assert_eq!((&first["line"], &first["column"]), (&json!(12), &json!(22)));
    assert_eq!(first["source"], "    podInjectPolicy: Sideways");
    assert_eq!((&first["severity"], &first["rule"]), (&json!("error"), &json!("A-VAL-31")));
    assert_eq!((&first["sidecarSet"], &first["document"]), (&json!("broken"), &json!(1)));

    let (code, stdout, _) = lint(&files, &["-f", ".", "-o", "sarif"]);
    assert_eq!(code, 1);
    let log: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"], json!([{"id": "A-VAL-31"}]));
    let result = &run["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&json!("A-VAL-31"), &json!("error")));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["region"]["startLine"], 12);
    assert!(
        place["artifactLocation"]["uri"].as_str().is_some_and(|uri| uri.ends_with("sets.yaml")),
        "{place}"
    );
}

#[test]
fn what_is_legal_and_surely_wrong_is_a_warning() {
    let everything = LOG_AGENT
        .replace("name: logging", "name: everything")
        .replace(
            "matchLabels:\n      app: web",
            "matchExpressions:\n    - {key: app, operator: NotIn, values: [db]}",
        )
        .replace("fluent-bit:3.1", "fluent-bit");
    let files = [("a.yaml", LOG_AGENT), ("b.yaml", &everything)];
    let (code, stdout, stderr) = lint(&files, &["-f", "."]);
    assert_eq!(code, 0, "warnings never fail: {stdout}");
    assert!(stderr.contains("0 error(s)"), "{stderr}");
    for start in [
        "warning[A-VAL-84]: SidecarSet \"everything\": spec.containers: \"log-agent\": SidecarSet \"logging\" has",
        "warning[L-1]: SidecarSet \"everything\": spec.selector: only excludes Pods",
        "warning[L-2]: SidecarSet \"everything\": spec.containers[0].image: found \"fluent-bit\"",
    ] {
        assert!(stdout.lines().any(|line| line.starts_with(start)), "{start} is not in\n{stdout}");
    }
    let (code, stdout, _) = lint(&files, &["-f", ".", "--strict-validation"]);
    assert_eq!(code, 1, "a conflict is an error then: {stdout}");
    assert!(stdout.contains("error[A-VAL-84]"), "{stdout}");
}

#[test]
fn an_empty_selector_is_an_error_with_its_line() {
    let empty = LOG_AGENT.replace("  selector:\n    matchLabels:\n      app: web", "  selector: {}");
    let (code, stdout, _) = lint(&[("a.yaml", &empty)], &["-f", "a.yaml"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("  --> a.yaml:6:3\n"), "{stdout}");
}

#[test]
fn text_that_cannot_be_read_is_a_finding_and_a_missing_file_is_not() {
    let (code, stdout, _) = lint(&[("a.yaml", "a: [\n")], &["-f", "a.yaml"]);
    assert_eq!(code, 1);
    assert!(stdout.starts_with("error[L-0]: ") && stdout.contains("--> a.yaml:1:4"), "{stdout}");
    for args in [&["-f", "none.yaml"][..], &["-f", "."]] {
        let (code, stdout, stderr) = lint(&[], args);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(stderr.contains("--filename"), "{stderr}");
    }
}

#[test]
fn standard_input_is_linted() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let output = run(dir.path(), &["lint", "-f", "-"], LOG_AGENT);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

/// The examples are good in every respect.
#[test]
fn the_examples_have_no_finding() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = run(root, &["lint", "-f", "examples/sidecarsets"], "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn the_definition_is_printed_as_it_is_committed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = run(root, &["crd"], "");
    assert_eq!(output.status.code(), Some(0));
    let read = |text: &str| documents::parse(text).into_iter().next().expect("a document").expect("readable");
    let printed = read(std::str::from_utf8(&output.stdout).expect("text"));
    let committed = fs::read_to_string(root.join("manifests/crd/crd.yaml")).expect("readable");
    assert_eq!(printed, read(&committed), "manifests/crd/crd.yaml is stale: run make generate and commit it");

    let output = run(root, &["crd", "--service", "team/hook"], "");
    let printed = read(std::str::from_utf8(&output.stdout).expect("text"));
    let service = &printed["spec"]["conversion"]["webhook"]["clientConfig"]["service"];
    assert_eq!((&service["namespace"], &service["name"]), (&json!("team"), &json!("hook")));
    let output = run(root, &["crd", "--service", "hook"], "");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("NAMESPACE/NAME"), "{output:?}");
}
