//! Helm chart and overlays, as far as they can be checked without Helm: pages, copies, versions. What they render is
//! looked at in `tests/cluster/helm.rs`.
//!
//! With `SIDECARSET_CHART_PAGE` in the environment the page is written to that path instead of compared.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sidecarset::source::documents;

const PAGE: &str = "manifests/chart/README.md";
const WRITE: &str = "SIDECARSET_CHART_PAGE";
/// What stands before the table; the rest of the page is written by hand.
const MARK: &str = "<!-- Written by `make generate` from values.yaml and values.schema.json. -->\n";
/// Helm gives this one to every chart: it is allowed and has no default.
const NOT_OURS: &str = "global";

#[test]
fn the_page_of_values_is_up_to_date() {
    let committed = text(PAGE);
    let (head, _) = committed.split_once(MARK).expect("the page has the mark");
    let schema: Value = serde_json::from_str(&text("manifests/chart/values.schema.json")).expect("JSON");
    let mut page = format!("{head}{MARK}\n| value | default | what |\n|---|---|---|\n");
    rows("", &schema, &yaml("manifests/chart/values.yaml"), &mut page);
    if let Some(path) = std::env::var_os(WRITE) {
        return fs::write(&path, page).expect("written");
    }
    assert!(committed == page, "{PAGE} is stale: run make generate and commit it");
}

/// Helm packs no file from outside the chart, and a symbolic link gets lost where Flux fetches the repository.
#[test]
fn the_chart_has_copies_of_what_belongs_elsewhere() {
    for (copy, original) in [
        ("crd.yaml", "manifests/crd/crd.yaml"),
        ("alerts.yaml", "manifests/monitoring/alerts.yaml"),
        ("dashboard.json", "manifests/monitoring/dashboard.json"),
    ] {
        let copied = text(&format!("manifests/chart/files/{copy}"));
        assert!(copied == text(original), "{copy} of the chart is stale: run make generate and commit it");
    }
}

/// What the page says about kustomize is what the cluster tests apply.
#[test]
fn the_page_of_the_install_shows_the_overlays_of_the_tests() {
    for overlay in ["selection", "network-policy"] {
        let file = text(&format!("tests/kustomize/{overlay}/kustomization.yaml"));
        let (_, patches) = file.split_once("patches:").expect("it has patches");
        let shown = format!("```yaml\npatches:{patches}```\n");
        assert!(text("docs/install.md").contains(&shown), "docs/install.md lacks\n{shown}");
    }
}

#[test]
fn one_version_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = yaml("manifests/chart/Chart.yaml");
    assert_eq!(chart["version"], version);
    assert_eq!(chart["appVersion"], version);
    assert_eq!(yaml("manifests/kustomization.yaml")["images"][0]["newTag"], version);
    assert!(text("Dockerfile").contains(&format!("ARG VERSION={version}\n")));
}

/// One row for each value that the schema does not take apart further; every value has a row and every row a value.
fn rows(path: &str, schema: &Value, value: &Value, page: &mut String) {
    let described = schema["properties"].as_object();
    let Some(described) = described.filter(|_| schema["additionalProperties"] == false && has_members(value))
    else {
        let told = schema["description"].as_str().unwrap_or_else(|| panic!("{path} has no description"));
        let default = serde_json::to_string(value).expect("JSON");
        let default = if default.len() > 60 { "see values.yaml".to_owned() } else { format!("`{default}`") };
        return writeln!(page, "| `{path}` | {default} | {told} |").expect("a String takes everything");
    };
    let values = value.as_object().expect("an object");
    for key in values.keys() {
        assert!(described.contains_key(key), "{path}.{key} of values.yaml is not in the schema");
    }
    for (key, schema) in described.iter().filter(|(key, _)| *key != NOT_OURS) {
        let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let value = values.get(key).unwrap_or_else(|| panic!("{inner} of the schema is not in values.yaml"));
        rows(&inner, schema, value, page);
    }
}

/// Whether the members of a value have rows of their own: not those of an object that is empty by default.
fn has_members(value: &Value) -> bool {
    value.as_object().is_some_and(|members| !members.is_empty())
}

fn yaml(file: &str) -> Value {
    documents::parse(&text(file)).into_iter().next().expect("a document").expect("readable")
}

fn text(file: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
