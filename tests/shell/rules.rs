//! `docs/rules.md`: which code and which tests stand for which rule. Written from citations, checked on every run.
//!
//! With `SIDECARSET_RULES_PAGE` in the environment the page is written to that path instead of compared.

mod page;
mod scope;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use scope::{COVERED, LATER, OUTSIDE};

const PAGE: &str = "docs/rules.md";
const WRITE: &str = "SIDECARSET_RULES_PAGE";

#[test]
fn every_rule_has_code_and_proof_or_a_reason() {
    let problems = Rules::read().problems();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn the_page_of_rules_is_up_to_date() {
    let page = page::text(&Rules::read());
    if let Some(path) = std::env::var_os(WRITE) {
        return fs::write(&path, page).expect("written");
    }
    let committed = fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    assert!(committed == page, "{PAGE} is stale: run make generate and commit it");
}

#[test]
fn ids_are_found_in_every_way_they_are_written() {
    let found = |text: &str| cited(text).iter().map(Id::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(found("/// Rules: I-ENV-1, A-DEF-31a. Decision: D-7."), "A-DEF-31a D-7 I-ENV-1");
    assert_eq!(found("(I-ENV-8…10) [I-ORD-3]"), "I-ENV-8 I-ENV-9 I-ENV-10 I-ORD-3");
    assert_eq!(found("UTF-8, I-T-INJ-3, I-X, AI-DEF-1"), "");
}

/// An id such as `I-ENV-6` or `A-DEF-31a`, sorted by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    family: String,
    number: u32,
    letter: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{}", self.family, self.number, self.letter)
    }
}

/// How an id is written: family, number, letter.
const ID: &str = r"\b([ACI]-[A-Z]+|D)-([0-9]+)([a-z]?)";

/// Every id in a text; `I-ENV-6…9` stands for four.
fn cited(text: &str) -> BTreeSet<Id> {
    static PATTERN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(&format!("{ID}(?:…([0-9]+))?")).expect("a pattern"));
    let mut ids = BTreeSet::new();
    for found in PATTERN.captures_iter(text) {
        let number = |n: usize| found.get(n).map(|digits| digits.as_str().parse().expect("few digits"));
        let first: u32 = number(2).expect("matched");
        for number in first..=number(4).unwrap_or(first) {
            ids.insert(Id { family: found[1].to_owned(), number, letter: found[3].to_owned() });
        }
    }
    ids
}

/// Where a rule is cited.
#[derive(Debug, Default)]
struct Places {
    /// Files, relative to the project.
    code: BTreeSet<String>,
    tests: BTreeSet<String>,
    /// Recorded requests that name it.
    records: usize,
}

impl Places {
    fn is_proven(&self) -> bool {
        !self.tests.is_empty() || self.records > 0
    }
}

/// The ids of the specifications and every citation of an id.
struct Rules {
    defined: BTreeSet<Id>,
    places: BTreeMap<Id, Places>,
}

impl Rules {
    fn read() -> Self {
        let mut rules = Self { defined: BTreeSet::new(), places: BTreeMap::new() };
        let definition = Regex::new(&format!(r"^(?:\| |\*\*|- \*\*){ID}\b")).expect("a pattern");
        for file in files(&root().join("docs/spec"), "md") {
            for line in read(&file).lines() {
                if let Some(found) = definition.find(line) {
                    rules.defined.extend(cited(found.as_str()));
                }
            }
        }
        rules.read_sources();
        rules.read_records();
        rules
    }

    /// What stands below `#[cfg(test)]`, in a file `tests.rs` or in the folder `tests` is proof, everything else code.
    fn read_sources(&mut self) {
        let this = file!().trim_end_matches(".rs");
        for file in [files(&root().join("src"), "rs"), files(&root().join("tests"), "rs")].concat() {
            let (name, text) = (relative(&file), read(&file));
            if name.starts_with(this) {
                continue;
            }
            let is_test = name.starts_with("tests/") || name.ends_with("/tests.rs");
            let end_of_code =
                if is_test { 0 } else { text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len()) };
            let (code, tests) = text.split_at(end_of_code);
            for id in cited(code) {
                self.places.entry(id).or_default().code.insert(name.clone());
            }
            for id in cited(tests) {
                self.places.entry(id).or_default().tests.insert(name.clone());
            }
        }
    }

    /// A record is proof of the rules that it was made for, and of the decision that it deviates by.
    fn read_records(&mut self) {
        for file in files(&root().join("tests/conformance"), "jsonl") {
            for line in read(&file).lines() {
                let line: Value = serde_json::from_str(line).expect("JSON");
                let records = line["requests"].as_array().map_or(std::slice::from_ref(&line), Vec::as_slice);
                for record in records {
                    for id in cited(&format!("{} {}", record["rules"], record["deviation"])) {
                        self.places.entry(id).or_default().records += 1;
                    }
                }
            }
        }
        for file in files(&root().join("tests/conformance/control"), "json") {
            let scenario: Value = serde_json::from_str(&read(&file)).expect("JSON");
            for id in cited(&format!("{} {}", scenario["rules"], scenario["deviations"])) {
                self.places.entry(id).or_default().records += 1;
            }
        }
    }

    /// The ids that this release must have code and proof for.
    fn required(&self) -> impl Iterator<Item = &Id> {
        self.defined.iter().filter(|id| {
            let text = id.to_string();
            !is_later(id)
                && !OUTSIDE.iter().any(|(outside, _)| *outside == text)
                && !COVERED.iter().any(|(covered, _)| *covered == text)
        })
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for id in self.required() {
            let places = self.places.get(id);
            if places.is_none_or(|places| places.code.is_empty()) {
                problems.push(format!("{id} is cited by no code: name it where it is done, or in scope.rs"));
            }
            if !places.is_some_and(Places::is_proven) {
                problems.push(format!("{id} is cited by no test and no record: name it where it is proven"));
            }
        }
        for (id, places) in &self.places {
            // Rows of tables, examples and open points have no definition of their own.
            if !self.defined.contains(id) && !["I-EX", "I-OPEN"].contains(&&*id.family) {
                problems.push(format!("{id} is in no specification but cited in {places:?}"));
            }
        }
        for (id, _) in OUTSIDE {
            let listed = self.entry(id, &mut problems);
            if listed.is_some_and(|places| !places.code.is_empty()) {
                problems.push(format!("{id} has code, so it does not belong to OUTSIDE of scope.rs"));
            }
        }
        for (id, by) in COVERED {
            self.entry(id, &mut problems);
            for by in *by {
                let covering = self.entry(by, &mut problems);
                if !covering.is_some_and(|places| !places.code.is_empty() && places.is_proven()) {
                    problems.push(format!("{id} is covered by {by}, which has no code or no proof"));
                }
            }
        }
        problems
    }

    /// The places of an id of `scope.rs`, which must be defined.
    fn entry(&self, id: &str, problems: &mut Vec<String>) -> Option<&Places> {
        let found = cited(id).into_iter().next().filter(|id| self.defined.contains(id));
        if found.is_none() {
            problems.push(format!("{id} stands in scope.rs but in no specification"));
        }
        self.places.get(&found?)
    }
}

/// Whether the family of an id is not complete in this release.
fn is_later(id: &Id) -> bool {
    LATER.iter().any(|(family, _)| id.family == *family)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn relative(file: &Path) -> String {
    file.strip_prefix(root()).expect("in the project").to_str().expect("text").to_owned()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The files with an extension in a folder and its folders, sorted.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    assert!(!found.is_empty() || folder != root(), "no file in {}", folder.display());
    found
}
