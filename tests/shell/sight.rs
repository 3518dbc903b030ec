//! What an operator reads is what the program does: page, dashboard and alerts against metrics and log messages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;
use sidecarset::metrics::{Format, Metrics, Operation, Outcome};

const PAGE: &str = "docs/operate.md";
const ALERTS: &str = "manifests/monitoring/alerts.yaml";
const ALERTS_TEST: &str = "manifests/monitoring/alerts_test.yaml";
const DASHBOARD: &str = "manifests/monitoring/dashboard.json";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The part of the page under a heading of the second level.
fn section(heading: &str) -> String {
    let page = read(PAGE);
    let rest = page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}")).1;
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

/// First group of every match.
fn found(pattern: &str, text: &str) -> BTreeSet<String> {
    let regex = Regex::new(pattern).expect("a pattern");
    regex.captures_iter(text).map(|groups| groups[1].to_owned()).collect()
}

fn assert_same(what: &str, page: &BTreeSet<String>, program: &BTreeSet<String>) {
    let missing: Vec<_> = program.difference(page).collect();
    let too_many: Vec<_> = page.difference(program).collect();
    assert!(
        missing.is_empty() && too_many.is_empty(),
        "{what}: missing {missing:#?}, not there {too_many:#?}"
    );
    assert!(!program.is_empty(), "{what}: the test looks at the wrong place");
}

/// What webhook and controller register, each once.
fn described() -> BTreeSet<(String, &'static str)> {
    let both = [Metrics::new("1"), Metrics::for_controller("1")];
    both.iter()
        .flat_map(|metrics| metrics.described())
        .map(|metric| (metric.name.clone(), metric.kind))
        .collect()
}

#[test]
fn the_page_has_every_metric_with_its_type() {
    let row = Regex::new(r"(?m)^\| `([a-z_]+)(?:\{[a-z,]+\})?` \| ([a-z]+) \|").expect("a pattern");
    let page = section("Metrics");
    let page = row.captures_iter(&page).map(|row| format!("{} {}", &row[1], &row[2])).collect();
    let program = described().iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    assert_same("metrics", &page, &program);
}

#[test]
fn the_page_has_the_labels_of_every_metric_that_is_scraped() {
    let metrics = Metrics::new("1");
    metrics.admission(Operation::Create, Outcome::Patched, Duration::ZERO);
    let webhook = Format::Classic.of(metrics.text(0).expect("text"));
    let controller = Metrics::for_controller("1").text(0).expect("text");
    let text = webhook + &Format::Classic.of(controller);
    let sample = Regex::new(r"^([a-z_]+)\{([^}]*)\} ").expect("a pattern");
    let label = Regex::new(r#"([a-z]+)=""#).expect("a pattern");
    let page = section("Metrics");
    for line in text.lines() {
        let Some(groups) = sample.captures(line).filter(|groups| !groups[1].ends_with("_bucket")) else {
            continue;
        };
        let labels: Vec<_> = label.captures_iter(&groups[2]).map(|label| label[1].to_owned()).collect();
        let documented = format!("`{}{{{}}}`", &groups[1], labels.join(","));
        assert!(page.contains(&documented), "{PAGE} has no {documented}");
    }
}

/// Names of metrics in an expression; a histogram's series count as the histogram.
fn metrics_in(text: &str) -> BTreeSet<String> {
    found(r"\b((?:sidecarset|process)_[a-z_]+)\b", text)
        .into_iter()
        .map(|name| name.strip_suffix("_bucket").map_or_else(|| name.clone(), str::to_owned))
        .collect()
}

#[test]
fn dashboard_and_alerts_use_metrics_that_exist() {
    let known: BTreeSet<_> = described().into_iter().map(|(name, _)| name).collect();
    for file in [ALERTS, ALERTS_TEST, DASHBOARD] {
        let used = metrics_in(&read(file));
        assert!(used.len() > 10, "{file}: {used:?}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    // A metric that nobody would ever see is not worth having.
    let shown = metrics_in(&(read(DASHBOARD) + &read(ALERTS)));
    let unseen: Vec<_> = known.difference(&shown).collect();
    let by_themselves = ["process_max_fds", "process_virtual_memory_bytes"];
    assert!(unseen.iter().all(|name| by_themselves.contains(&name.as_str())), "on no panel: {unseen:?}");
}

#[test]
fn every_alert_has_its_place_on_the_page() {
    let alerts = read(ALERTS);
    let names = found(r"- alert: (\w+)", &alerts);
    assert_same("alerts", &found(r"(?m)^### (\w+)$", &section("Alerts")), &names);
    let anchors = found(r"runbook_url: docs/operate\.md#(\w+)", &alerts);
    assert_same("anchors", &anchors, &names.iter().map(|name| name.to_lowercase()).collect());
    let tested = found(r#"alertname="(\w+)""#, &read(ALERTS_TEST));
    assert_same("tested alerts", &tested, &names);
    for alert in alerts.split("- alert: ").skip(1) {
        for member in ["severity: ", "summary: ", "description: "] {
            assert!(alert.contains(member), "no {member}in {alert}");
        }
    }
}

#[test]
fn the_page_has_every_warning_and_error_of_the_log() {
    let page = found(r"(?m)^\| (?:error|warn) \| `([^`]+)` \|", &section("Log lines that ask for action"));
    let mut program = BTreeSet::new();
    collect_messages(&root().join("src"), &mut program);
    assert_same("log messages", &page, &program);
}

fn collect_messages(folder: &Path, messages: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect_messages(&path, messages);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("readable");
            let calls = ["tracing::warn!(", "tracing::error!("];
            for call in calls.into_iter().flat_map(|call| text.split(call).skip(1)) {
                let message = message_of(call).unwrap_or_else(|| panic!("{}", path.display()));
                // One that is all placeholder says by itself what is wrong.
                if !message.starts_with('{') {
                    messages.insert(message);
                }
            }
        }
    }
}

/// The last literal among the arguments of a call: the message, which stands behind the fields.
fn message_of(call: &str) -> Option<String> {
    let mut open = 1;
    let mut last = None;
    let mut rest = call.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '(' => open += 1,
            ')' => open -= 1,
            '"' => {
                let (end, _) = rest.find(|(_, c)| *c == '"')?;
                last = call.get(at + 1..end).map(str::to_owned);
            }
            _ => {}
        }
        if open == 0 {
            return last;
        }
    }
    None
}

/// `promtool`, or `None` if it is not there and nobody insists on it.
pub(crate) fn promtool() -> Option<Command> {
    let is_there =
        Command::new("promtool").arg("--version").output().is_ok_and(|output| output.status.success());
    let required = std::env::var_os("PROMTOOL").is_some_and(|value| value == "required");
    assert!(
        is_there || !required,
        "PROMTOOL=required, but there is no promtool: it is in Debian's package prometheus"
    );
    is_there.then(|| Command::new("promtool"))
}

fn run(mut command: Command) {
    let output = command.current_dir(root()).output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn promtool_accepts_the_alerts_and_their_tests_pass() {
    for args in [["check", "rules", ALERTS], ["test", "rules", ALERTS_TEST]] {
        let Some(mut promtool) = promtool() else { return };
        promtool.args(args);
        run(promtool);
    }
}

/// As rules, because promtool knows nothing of Grafana; its variables become what they stand for.
#[test]
fn promtool_understands_every_expression_of_the_dashboard() {
    let Some(mut promtool) = promtool() else { return };
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let rules: Vec<_> = (0..)
        .zip(targets)
        .map(|(n, target)| {
            let expr = target["expr"].as_str().expect("an expression").replace("$__rate_interval", "5m");
            serde_json::json!({"record": format!("panel:{n}"), "expr": expr})
        })
        .collect();
    assert!(rules.len() > 30, "{} expressions", rules.len());
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = dir.path().join("rules.yaml");
    let groups = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(&file, groups.to_string()).expect("written");
    promtool.args(["check", "rules"]).arg(&file);
    run(promtool);
}

#[test]
fn panels_have_a_title_a_description_and_the_chosen_prometheus() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64()), "{} occurs twice", panel["id"]);
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{panel}");
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{}", panel["title"]);
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
    }
}
