//! The folder of SidecarSets: what is read, what its errors say, and that a bad change keeps the last good state.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use sidecarset::source::folder::{self, Files, Problem};
use sidecarset::source::publish::Published;
use sidecarset::source::reload::{Change, FolderSource};
use sidecarset_core::snapshot::SnapshotParts;
use sidecarset_core::validation::Options;

use crate::support::{LOG_AGENT, swap_link};

fn named(name: &str) -> String {
    LOG_AGENT.replace("name: logging", &format!("name: {name}"))
}

fn load(dir: &Path) -> Result<SnapshotParts, Vec<Problem>> {
    folder::load(&Files::read(dir)?, Options::default()).map(|loaded| loaded.parts)
}

/// Loads one file that must not load and returns the problems as text, without the folder's name.
fn problems_of(text: impl AsRef<[u8]>) -> Vec<String> {
    let dir = tempfile::tempdir().expect("temporary folder");
    fs::write(dir.path().join("f.yaml"), text).expect("written");
    let problems = load(dir.path()).expect_err("it must not load");
    let prefix = format!("{}/", dir.path().display());
    problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
}

#[test]
fn reads_all_kinds_from_all_files() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| dir.path().join(name);
    fs::create_dir_all(path("more/inner")).expect("made");
    fs::create_dir(path(".git")).expect("made");
    fs::write(path("a.yaml"), format!("---\n# only a comment\n---\n{}---\n{}", named("a1"), named("a2")))
        .expect("written");
    fs::write(path("more/inner/b.yml"), named("b")).expect("written");
    fs::write(path("c.json"), r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a", "labels": {"tier": "gold"}}}"#)
        .expect("written");
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: team-b}\n\
                - apiVersion: apps/v1\n  kind: ControllerRevision\n  metadata: {name: r-1, namespace: kruise-system}\n";
    fs::write(path("d.YAML"), list).expect("written");
    for left_out in [".hidden.yaml", "notes.txt", ".git/x.yaml", "a.yaml~"] {
        fs::write(path(left_out), "{ not: [read").expect("written");
    }

    let parts = load(dir.path()).expect("good");
    let sets: Vec<&str> = parts.sets.iter().map(|set| set.name()).collect();
    assert_eq!(sets, ["a1", "a2", "b"]);
    let namespaces: Vec<&str> = parts.namespaces.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(namespaces, ["team-a", "team-b"]);
    let labels = &parts.namespaces.first().expect("team-a").1;
    assert!(labels.contains(&("tier".to_owned(), "gold".to_owned())), "{labels:?}");
    assert_eq!(parts.revisions.len(), 1);
}

#[test]
fn an_empty_folder_is_no_error() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut source =
        FolderSource::new(dir.path().to_owned(), Arc::new(Published::default()), Options::default());
    assert_eq!(source.check(), Change::Published(0));
}

#[test]
fn errors_name_file_document_and_field() {
    let wrong_kind = format!("{LOG_AGENT}---\napiVersion: v1\nkind: Service\nmetadata: {{name: x}}\n");
    let found = problems_of(wrong_kind);
    assert_eq!(found.len(), 1, "{found:?}");
    let text = found.first().expect("one");
    assert!(
        text.starts_with("f.yaml: document 2: apiVersion \"v1\", kind \"Service\" has no place here"),
        "{text}"
    );
    assert!(
        text.contains("allowed are SidecarSet")
            && text.contains("Namespace")
            && text.contains("ControllerRevision"),
        "{text}"
    );

    for (text, start, hint) in [
        ("kind: SidecarSet\n".to_owned(), "f.yaml: document 1: apiVersion \"\"", "apps.kruise.io/v1beta1"),
        (
            LOG_AGENT.replace("v1beta1", "v2"),
            "f.yaml: document 1: apiVersion \"apps.kruise.io/v2\"",
            "v1alpha1",
        ),
        (
            LOG_AGENT.replace("  name: logging", "  labels: {}"),
            "f.yaml: document 1: metadata.name: not found",
            "needs one",
        ),
        ("a: 1\na: 2\n".to_owned(), "f.yaml: document 1: the key \"a\" stands twice", "line 2"),
        ("apiVersion: v1\nkind: List\n".to_owned(), "f.yaml: document 1: items: not found", "objects"),
        (
            format!("kind: List\nitems:\n- {}", "kind: List\n  items: []\n"),
            "f.yaml: document 1: items[0]: a List inside",
            "outer",
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {x: 1}}\n".to_owned(),
            "f.yaml: document 1: metadata.labels[x]: 1 is no text",
            "quotes",
        ),
        ("x: {".to_owned(), "f.yaml: document 1: not readable as YAML or JSON", "line 1"),
        ("just text".to_owned(), "f.yaml: document 1: apiVersion \"\", kind \"\"", "allowed are"),
    ] {
        let found = problems_of(&text);
        let first = found.first().expect("a problem");
        assert!(first.starts_with(start) && first.contains(hint), "{text:?} gives {found:?}");
    }
    let found = problems_of(b"kind: \xff");
    assert_eq!(found, ["f.yaml: not UTF-8 from byte 6 on; save the file as UTF-8"]);
}

/// Rule: A-VAL-20, A-CORE-50. Decision: D-10.
#[test]
fn a_set_that_an_api_server_would_refuse_does_not_load() {
    let wrong = LOG_AGENT.replace("selector:", "namespaceSelector:");
    let found = problems_of(format!("{}---\n{wrong}", named("good")));
    assert_eq!(found.len(), 1, "{found:?}");
    let start = "f.yaml: document 2: SidecarSet \"logging\": spec.selector: must be given";
    assert!(found.iter().all(|text| text.starts_with(start) && text.ends_with("[A-VAL-20]")), "{found:?}");
    let mounted =
        LOG_AGENT.replace("    podInject", "    volumeMounts: [{name: spool, mountPath: /s}]\n    podInject");
    let found = problems_of(mounted);
    assert!(
        found.iter().all(|text| text.contains("spec.containers[0].volumeMounts[0].name: found \"spool\"")),
        "{found:?}"
    );
}

/// Rule: A-VAL-50, A-API-P5.
#[test]
fn the_allow_list_is_one_of_the_files() {
    let patching = format!("{LOG_AGENT}  patchPodMetadata: [{{annotations: {{team: a}}}}]\n");
    let config_map = |name: &str, key: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  \
             SidecarSet_PatchPodMetadata_WhiteList: '{{\"rules\":[{{\"allowedAnnotationKeyExprs\":[\"^{key}$\"]}}]}}'\n"
        )
    };
    let dir = tempfile::tempdir().expect("temporary folder");
    let good = format!("{patching}{}", config_map("kruise-configuration", "team"));
    fs::write(dir.path().join("f.yaml"), good).expect("written");
    assert_eq!(load(dir.path()).expect("allowed").sets.len(), 1);
    for (text, hint) in [
        (patching.clone(), "ConfigMap kruise-configuration"),
        (format!("{patching}{}", config_map("kruise-configuration", "owner")), "team"),
        (format!("{LOG_AGENT}{}", config_map("other", "team")), "the only ConfigMap that is read"),
    ] {
        let found = problems_of(text);
        assert!(found.iter().any(|problem| problem.contains(hint)), "{hint}: {found:?}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let found =
        problems_of(format!("kind: A\n---\n{LOG_AGENT}---\nkind: B\n---\nx: 1\nx: 2\n---\nkind: C\n"));
    let places: Vec<&str> = found.iter().filter_map(|text| text.split(": ").nth(1)).collect();
    assert_eq!(places, ["document 1", "document 3", "document 4", "document 5"], "{found:?}");
}

#[test]
fn a_name_that_stands_twice_names_both_files() {
    let dir = tempfile::tempdir().expect("temporary folder");
    fs::write(dir.path().join("a.yaml"), LOG_AGENT).expect("written");
    fs::write(dir.path().join("b.yaml"), format!("{}---\n{LOG_AGENT}", named("other"))).expect("written");
    let problems = load(dir.path()).expect_err("twice");
    let text = problems.iter().map(ToString::to_string).collect::<String>();
    assert!(text.contains("b.yaml: document 2: metadata.name: a second SidecarSet \"logging\""), "{text}");
    assert!(text.contains("a.yaml, document 1"), "{text}");
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let problems = load(Path::new("/does/not/exist")).expect_err("missing");
    let text = problems.iter().map(ToString::to_string).collect::<String>();
    assert!(text.starts_with("/does/not/exist: cannot read the folder"), "{text}");
}

#[test]
fn a_loop_of_links_is_told() {
    let dir = tempfile::tempdir().expect("temporary folder");
    std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).expect("linked");
    let problems = load(dir.path()).expect_err("a loop");
    assert!(problems.iter().any(|problem| problem.detail.contains("folders deep")), "{problems:?}");
}

#[test]
fn a_bad_change_keeps_the_last_good_state() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = dir.path().join("a.yaml");
    let published = Arc::new(Published::default());
    let sets = || published.load().as_ref().map(|snapshot| snapshot.set_count());
    let mut source = FolderSource::new(dir.path().to_owned(), Arc::clone(&published), Options::default());

    fs::write(&file, LOG_AGENT).expect("written");
    assert_eq!(source.check(), Change::Published(1));
    assert_eq!(source.check(), Change::None);

    fs::write(&file, "kind: [").expect("written");
    assert!(matches!(source.check(), Change::Failed(problems) if problems.len() == 1));
    assert_eq!(source.check(), Change::StillFailed, "told once");
    assert_eq!(sets(), Some(1), "the last good state stays");

    fs::write(&file, format!("{LOG_AGENT}---\n{}", named("second"))).expect("written");
    assert_eq!(source.check(), Change::Published(2));
    assert_eq!(sets(), Some(2));

    fs::remove_file(&file).expect("removed");
    assert_eq!(source.check(), Change::Published(0));
    fs::remove_dir(dir.path()).expect("removed");
    assert!(matches!(source.check(), Change::Failed(_)));
    assert_eq!(source.check(), Change::StillFailed, "an unreadable folder is told once, too");
    fs::create_dir(dir.path()).expect("made");
    assert_eq!(source.check(), Change::Published(0));
}

#[test]
fn a_mounted_config_map_is_followed() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let generation = |name: &str, text: String| {
        let data = dir.path().join(name);
        fs::create_dir(&data).expect("made");
        fs::write(data.join("sets.yaml"), text).expect("written");
        swap_link(dir.path(), &data);
    };
    generation("..1", named("first"));
    std::os::unix::fs::symlink("..data/sets.yaml", dir.path().join("sets.yaml")).expect("linked");
    let mut source =
        FolderSource::new(dir.path().to_owned(), Arc::new(Published::default()), Options::default());
    assert_eq!(source.check(), Change::Published(1), "each file is read once, under its visible name");
    generation("..2", format!("{}---\n{}", named("first"), named("second")));
    assert_eq!(source.check(), Change::Published(2));
}
