//! From a field of a SidecarSet to its line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sidecarset_core::crd;

use super::Severity;
use crate::source::folder::{Files, Problem};
use crate::source::located::{Found, LocatedText, Position};

/// A finding with its place in the text.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) severity: Severity,
    pub(super) problem: Problem,
    /// Unknown for what is about a file as a whole.
    pub(super) position: Option<Position>,
    /// The line of the position.
    pub(super) line: Option<String>,
    /// What to read about the field.
    pub(super) hint: Option<String>,
}

/// Places all of them and sorts them by file and line.
pub(super) fn all(files: &Files, problems: Vec<(Severity, Problem)>) -> Vec<Placed> {
    let mut texts: BTreeMap<PathBuf, (Vec<String>, LocatedText)> = BTreeMap::new();
    let mut placed: Vec<Placed> = problems
        .into_iter()
        .map(|(severity, problem)| {
            let (lines, located) = texts.entry(problem.file.clone()).or_insert_with(|| {
                let text = String::from_utf8_lossy(files.content(&problem.file).unwrap_or_default());
                (text.lines().map(ToOwned::to_owned).collect(), LocatedText::parse(&text))
            });
            let (position, path) = locate(&problem, located);
            let index = position.and_then(|at| usize::try_from(at.line).ok()?.checked_sub(1));
            let line = index.and_then(|index| lines.get(index)).cloned();
            let hint = path.and_then(|path| crd::hint(&path));
            Placed { severity, problem, position, line, hint }
        })
        .collect();
    placed.sort_by(|a, b| {
        let key = |p: &Placed| (p.problem.file.clone(), p.position, p.severity, p.problem.clone());
        key(a).cmp(&key(b))
    });
    placed
}

/// The position of a problem, and the path that it is really about.
fn locate(problem: &Problem, located: &LocatedText) -> (Option<Position>, Option<String>) {
    if let Some((line, column)) = problem.position {
        return (Some(Position { line, column }), None);
    }
    let Some(document) = problem.document else { return (None, None) };
    let found = candidates(problem)
        .into_iter()
        .filter_map(|path| Some((located.find(document, problem.item, &path)?, path)))
        // Of equals the first; the whole field before one of its parents, the nearest parent before others.
        .reduce(|best, next| if rank(&next.0) > rank(&best.0) { next } else { best });
    match found {
        Some((found, path)) => (Some(found.position), Some(path)),
        None => (None, None),
    }
}

fn rank(found: &Found) -> (usize, bool) {
    (found.depth, found.complete)
}

/// The paths that a problem may mean. Some of upstream's paths are odd (A-EDGE-16); then the text says at its beginning where the
/// member really stands, in full or from the path on.
fn candidates(problem: &Problem) -> Vec<String> {
    let (path, detail) = match &problem.finding {
        Some(finding) => (finding.path.as_str(), finding.detail.as_str()),
        None => ("", problem.detail.as_str()),
    };
    let mut paths = Vec::new();
    if let Some((start, _)) = detail.split_once(": ")
        && !start.contains(' ')
    {
        if start.starts_with('[') {
            paths.push(format!("{path}{start}"));
        } else if start.starts_with("spec.") || start.starts_with("metadata.") {
            paths.push(start.to_owned());
        }
    }
    paths.push(path.to_owned());
    if let Some(rest) = path.strip_prefix("spec[") {
        paths.extend(["initContainers", "containers"].map(|list| format!("spec.{list}[{rest}")));
    }
    if !path.starts_with("spec") && !path.starts_with("metadata") {
        paths.push(format!("spec.{path}"));
        paths.push(format!("spec.injectionStrategy.{path}"));
    }
    paths
}
