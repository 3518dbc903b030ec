//! `sidecarset preflight`: checks a cluster before and after the install, and tells what to do.

use std::fmt::Write as _;
use std::process::ExitCode;

use kube::Client;
use serde_json::json;

use super::FINDINGS;
use super::args::{PreflightArgs, PreflightOutput};
use super::on_cluster::on_cluster;
use super::printer::{Printer, one_line};
use crate::cluster::preflight::facts::{Facts, Phase, Target};
use crate::cluster::preflight::fetch::{self, Scope};
use crate::cluster::preflight::{Finding, Level, judge};

/// Where each check is explained.
const HELP_PAGE: &str = "docs/troubleshoot.md";

/// Asks the cluster and prints what was found. Exit code 1 tells that something does not work.
pub fn run(args: &PreflightArgs, coloured: bool, printer: &mut Printer) -> ExitCode {
    on_cluster(&args.connect, "preflight", printer, async |client, printer| {
        match facts(args, &client).await {
            Ok(facts) => tell(args, &facts, coloured, printer),
            Err(error) => printer.cannot_run(&error),
        }
    })
}

fn tell(args: &PreflightArgs, facts: &Facts, coloured: bool, printer: &mut Printer) -> ExitCode {
    let findings = judge(facts);
    let text = match args.output {
        PreflightOutput::Text => table(facts.phase, &facts.target.namespace, &findings, coloured),
        PreflightOutput::Json => format!("{:#}\n", json!({"phase": facts.phase, "findings": findings})),
    };
    match printer.data(&text) {
        Ok(()) if findings.iter().any(|finding| finding.level == Level::Fail) => ExitCode::from(FINDINGS),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => printer.cannot_write(&error),
    }
}

async fn facts(args: &PreflightArgs, client: &Client) -> Result<Facts, String> {
    let scope = Scope {
        target: Target {
            namespace: args.namespace.clone(),
            service: args.service.clone(),
            webhook_configurations: args.webhook_configurations.clone(),
        },
        phase: args.phase,
        certificate_secret: args.certificate_secret.clone(),
        probe_namespace: args
            .probe_namespace
            .clone()
            .unwrap_or_else(|| client.default_namespace().to_owned()),
    };
    fetch::facts(client, scope).await
}

/// A row a finding, its fix below it; readable without colour.
#[must_use]
pub fn table(phase: Phase, namespace: &str, findings: &[Finding], coloured: bool) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    let when = match phase {
        Phase::Before => "before",
        Phase::After => "after",
    };
    let mut text = format!("preflight {when} the install, namespace {namespace}\n\n");
    for finding in findings {
        let (name, colour) = told(finding.level);
        let (on, off) = if coloured { (colour, "\u{1b}[0m") } else { ("", "") };
        let check = finding.check;
        // Writing to a String does not fail.
        let _ = writeln!(text, "{check:width$}  {on}{name:4}{off}  {}", one_line(&finding.found));
        if !finding.fix.is_empty() {
            let _ = writeln!(text, "{:width$}        fix: {}", "", one_line(&finding.fix));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let _ = writeln!(
        text,
        "\n{} ok, {} to look at, {} failed, {} not checked; {HELP_PAGE} explains each check",
        count(Level::Ok),
        count(Level::Warn),
        count(Level::Fail),
        count(Level::Skipped),
    );
    text
}

fn told(level: Level) -> (&'static str, &'static str) {
    match level {
        Level::Ok => ("ok", "\u{1b}[32m"),
        Level::Skipped => ("skip", "\u{1b}[2m"),
        Level::Warn => ("warn", "\u{1b}[33m"),
        Level::Fail => ("FAIL", "\u{1b}[1;31m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_with_and_without_colour() {
        let finding = |check, level, found: &str, fix: &str| Finding {
            check,
            level,
            found: found.to_owned(),
            fix: fix.to_owned(),
        };
        let findings = [
            finding("crd", Level::Ok, "is there", ""),
            finding("ca-bundle", Level::Fail, "a\nmessage \u{1b}[2J of others", "do this"),
        ];
        let plain = table(Phase::After, "hooks", &findings, false);
        assert_eq!(
            plain,
            "preflight after the install, namespace hooks\n\n\
             crd        ok    is there\n\
             ca-bundle  FAIL  a message  [2J of others\n\
             \x20                fix: do this\n\n\
             1 ok, 0 to look at, 1 failed, 0 not checked; docs/troubleshoot.md explains each check\n"
        );
        let coloured = table(Phase::After, "hooks", &findings, true);
        assert!(coloured.contains("\u{1b}[1;31mFAIL\u{1b}[0m  a message"), "{coloured}");
        for code in ["\u{1b}[32m", "\u{1b}[1;31m", "\u{1b}[0m"] {
            assert!(coloured.contains(code));
        }
    }
}
