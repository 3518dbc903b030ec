//! How `docs/rules.md` looks.

use std::fmt::Write;

use super::scope::{COVERED, LATER, OUTSIDE};
use super::{Places, Rules, is_later};

const HEAD: &str = "\
# Rules

<!-- Written by `make generate` from the ids that code, tests and records cite. -->

Every rule of the [specifications](spec/) with the code that does it and what proves it: tests, and the number of recorded
requests in `tests/conformance/` that were made for it. A test fails when a rule of this release has no code or no proof, and when
this page is stale. `grep -rn I-MATCH-7 src tests docs` leads from an id to everything about it.
";

/// The whole page.
pub(super) fn text(rules: &Rules) -> String {
    let mut page = HEAD.to_owned();
    let mut family = "";
    for id in &rules.defined {
        let Some(places) = rules.places.get(id).filter(|places| !places.code.is_empty()) else { continue };
        if is_later(id) && !places.is_proven() {
            continue;
        }
        if family != id.family {
            family = &id.family;
            write!(page, "\n## {family}\n\n| rule | code | proof |\n|---|---|---|\n").expect("memory");
        }
        writeln!(page, "| {id} | {} | {} |", list(places.code.iter()), proof(places)).expect("memory");
    }
    page.push_str("\n## Covered by other rules\n\nNothing is done for these alone.\n\n| rule | covered by |\n|---|---|\n");
    for (id, by) in COVERED {
        writeln!(page, "| {id} | {} |", by.join(", ")).expect("memory");
    }
    page.push_str(
        "\n## Out of scope\n\nFamilies first: where a part of one is there already, its rules are above.\n",
    );
    page.push_str("\n| rule | why |\n|---|---|\n");
    for (id, why) in LATER.iter().chain(OUTSIDE) {
        writeln!(page, "| {id} | {why} |").expect("memory");
    }
    page
}

fn proof(places: &Places) -> String {
    let records = match places.records {
        0 => None,
        1 => Some("1 record".to_owned()),
        records => Some(format!("{records} records")),
    };
    let tests = (!places.tests.is_empty()).then(|| list(places.tests.iter()));
    [tests, records].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn list<'a>(files: impl Iterator<Item = &'a String>) -> String {
    files.map(|file| format!("`{file}`")).collect::<Vec<_>>().join(", ")
}
