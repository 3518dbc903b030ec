//! Who may import whom inside the shell.

use std::fs;
use std::path::Path;

/// Webhook and controller do not know each other, so neither can wait for the other. Decision: D-35.
///
/// Module and what it may name of ours. `cli` may name everything: `cli/serve.rs` wires it all together.
const ALLOWED: &[(&str, &[&str])] = &[
    ("causes", &[]),
    ("clock", &[]),
    ("cluster", &["causes", "clock", "cluster", "faults", "metrics", "pauses", "tls"]),
    ("config", &["cli", "cluster", "config", "source", "telemetry"]),
    ("controller", &["causes", "clock", "cluster", "controller", "metrics", "pauses", "source"]),
    ("draw", &[]),
    ("duration", &[]),
    ("metrics", &["metrics"]),
    ("pauses", &[]),
    ("server", &["clock", "duration", "faults", "metrics", "server", "shutdown", "source", "spans"]),
    ("shutdown", &[]),
    ("source", &["causes", "metrics", "pauses", "source"]),
    ("spans", &[]),
    ("telemetry", &[]),
    ("tls", &["clock", "metrics", "tls"]),
    ("faults", &[]),
    ("lib", &[]),
];

#[test]
fn modules_import_only_what_they_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for (module, allowed) in ALLOWED {
        for file in files_of(&src, module) {
            let text = fs::read_to_string(&file).expect("readable");
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
                for name in line.split("crate::").skip(1) {
                    let name: String =
                        name.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                    seen += 1;
                    assert!(
                        allowed.contains(&name.as_str()),
                        "{}: {module} must not use crate::{name}",
                        file.display()
                    );
                }
            }
        }
    }
    assert!(seen >= 5, "the test looks at the wrong files: saw {seen} imports");
}

#[test]
fn every_module_has_a_row() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(src).expect("readable") {
        let name = entry.expect("readable").file_name().into_string().expect("text");
        let Some(module) = name.strip_suffix(".rs").filter(|module| !["main", "cli"].contains(module)) else {
            continue;
        };
        assert!(ALLOWED.iter().any(|(row, _)| *row == module), "{module} is in no row of ALLOWED");
    }
}

fn files_of(src: &Path, module: &str) -> Vec<std::path::PathBuf> {
    let mut files = vec![src.join(format!("{module}.rs"))];
    let mut folders = vec![src.join(module)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("readable").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}
