//! The three forms of a report.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Severity;
use super::place::Placed;

/// Id of what keeps a file from being read.
const UNREADABLE: &str = "L-0";

impl Placed {
    fn rule(&self) -> &'static str {
        self.problem.finding.as_ref().map_or(UNREADABLE, |finding| finding.rule)
    }

    /// What is wrong, with the set's name and the field, without file and rule.
    fn message(&self) -> String {
        let place = self.problem.item.map(|n| format!("items[{n}]: ")).unwrap_or_default();
        let set = self.problem.set.as_ref().map(|set| format!("SidecarSet {set:?}: ")).unwrap_or_default();
        match &self.problem.finding {
            Some(finding) => format!("{place}{set}{}: {}", finding.path, finding.detail),
            None => format!("{place}{set}{}", self.problem.detail),
        }
    }
}

/// For people.
pub(super) fn text(found: &[Placed]) -> String {
    let mut out = String::new();
    for placed in found {
        // Writing to a String does not fail.
        let _ = write_one(&mut out, placed);
    }
    out
}

fn write_one(out: &mut String, placed: &Placed) -> std::fmt::Result {
    writeln!(out, "{}[{}]: {}", placed.severity.as_str(), placed.rule(), placed.message())?;
    let file = placed.problem.file.display();
    match placed.position {
        Some(at) => {
            writeln!(out, "  --> {file}:{}:{}", at.line, at.column)?;
            if let Some(line) = &placed.line {
                let number = at.line.to_string();
                let margin = " ".repeat(number.len());
                let before: String = line
                    .chars()
                    .take(usize::try_from(at.column).unwrap_or(usize::MAX).saturating_sub(1))
                    // A tab stays a tab, so that the mark stands below the character.
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                writeln!(out, " {margin} |\n {number} | {line}\n {margin} | {before}^")?;
            }
        }
        None => writeln!(out, "  --> {file}")?,
    }
    if let Some(hint) = &placed.hint {
        writeln!(out, "  = hint: {hint}")?;
    }
    writeln!(out)
}

/// For programs: a list with one object a finding.
pub(super) fn json(found: &[Placed]) -> String {
    let list: Vec<Value> = found
        .iter()
        .map(|placed| {
            let finding = placed.problem.finding.as_ref();
            json!({
                "severity": placed.severity.as_str(),
                "rule": placed.rule(),
                "file": placed.problem.file.display().to_string(),
                "document": placed.problem.document,
                "line": placed.position.map(|at| at.line),
                "column": placed.position.map(|at| at.column),
                "source": placed.line,
                "sidecarSet": placed.problem.set,
                "field": finding.map(|finding| &finding.path),
                "message": finding.map_or(&placed.problem.detail, |finding| &finding.detail),
                "hint": placed.hint,
            })
        })
        .collect();
    format!("{:#}\n", Value::from(list))
}

/// For code scanning: SARIF 2.1.0.
pub(super) fn sarif(found: &[Placed]) -> String {
    let rules: BTreeMap<&str, ()> = found.iter().map(|placed| (placed.rule(), ())).collect();
    let rules: Vec<Value> = rules.keys().map(|rule| json!({"id": rule})).collect();
    let results: Vec<Value> = found.iter().map(sarif_result).collect();
    let driver = json!({"name": "sidecarset", "version": env!("CARGO_PKG_VERSION"), "rules": rules});
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    });
    format!("{log:#}\n")
}

fn sarif_result(placed: &Placed) -> Value {
    let mut physical = json!({"artifactLocation": {"uri": uri(&placed.problem.file.display().to_string())}});
    if let Some(at) = placed.position {
        physical["region"] = json!({"startLine": at.line, "startColumn": at.column});
        if let Some(line) = &placed.line {
            physical["region"]["snippet"] = json!({"text": line});
        }
    }
    let level = match placed.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "ruleId": placed.rule(),
        "level": level,
        "message": {"text": placed.message()},
        "locations": [{"physicalLocation": physical}],
    })
}

/// A path as a relative reference: what is not plain in one is escaped.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("sets/a b.yaml"), "sets/a%20b.yaml");
        assert_eq!(uri("ü"), "%C3%BC");
    }
}
