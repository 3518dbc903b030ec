//! Links between the pages of this repository: each file is there, and each heading that an anchor names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that nobody commits.
const NOT_OURS: [&str; 4] = [".git", "bin", "node_modules", "target"];

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = pages(root);
    let (mut seen, mut dead) = (0, Vec::new());
    for page in &pages {
        let text = fs::read_to_string(page).expect("readable");
        for link in links(&text).filter(|link| !is_elsewhere(link)) {
            seen += 1;
            if let Err(why) = follow(page, &text, link) {
                dead.push(format!("{}: {link}: {why}", page.strip_prefix(root).unwrap_or(page).display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
    assert!(pages.len() > 20 && seen > 100, "the test looks at the wrong files: {} with {seen}", pages.len());
}

#[test]
fn links_and_anchors_are_read_as_github_does() {
    let text = "# A `b-c` & d_e: *f*!\n\n[x](y.md#z) and `[no](no.md)` ![i](i.png \"title\")\n```sh\n# no heading\n[no](no)\n```\n## Ä [link](l.md)\n\
                ## Same\n## Same\n<a id=\"by-hand\"></a>\n[ref]: r.md\n";
    assert_eq!(links(text).collect::<Vec<_>>(), ["y.md#z", "i.png", "l.md", "r.md"]);
    let expected = ["a-b-c--d_e-f", "by-hand", "same", "same-1", "ä-link"];
    assert_eq!(anchors(text), expected.map(str::to_owned).into());
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/page.md");
    assert_eq!(follow(&page, text, "#same"), Ok(()));
    assert_eq!(follow(&page, text, "../README.md"), Ok(()));
    assert_eq!(follow(&page, text, "#other"), Err("no such heading".to_owned()));
    assert_eq!(follow(&page, text, "../README.md#no-such-heading"), Err("no such heading".to_owned()));
    assert_eq!(follow(&page, text, "README.txt"), Err("no such file".to_owned()));
}

/// All pages below a folder.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let entry = entry.expect("readable");
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            if !NOT_OURS.iter().any(|folder| name == *folder) {
                found.extend(pages(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found
}

fn is_elsewhere(link: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme))
}

/// Whether a link of a page leads somewhere.
fn follow(page: &Path, text: &str, link: &str) -> Result<(), String> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = page.parent().expect("a folder").join(file);
    if !file.is_empty() && !target.exists() {
        return Err("no such file".to_owned());
    }
    let other =
        if file.is_empty() { text.to_owned() } else { fs::read_to_string(&target).unwrap_or_default() };
    if anchor.is_empty() || anchors(&other).contains(anchor) {
        return Ok(());
    }
    Err("no such heading".to_owned())
}

/// The lines of a page that are not code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// What the links of a page lead to.
fn links(text: &str) -> impl Iterator<Item = &str> {
    prose(text).flat_map(|line| {
        let defined = line.strip_prefix('[').and_then(|line| line.split_once("]: ")).map(|(_, to)| to);
        // Every second part stands between backticks.
        let outside = line.split('`').step_by(2);
        let inline =
            outside.flat_map(|part| part.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
        inline.chain(defined).filter_map(|link| link.split_whitespace().next())
    })
}

/// The anchors of a page: of its headings, numbered where two are alike, and those that were set by hand.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in prose(text) {
        let heading = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'));
        if let Some(heading) = heading {
            let anchor = anchor(heading);
            let numbered = (1..).map(|number| format!("{anchor}-{number}"));
            let free = std::iter::once(anchor.clone()).chain(numbered).find(|name| !found.contains(name));
            found.extend(free);
        }
        let by_hand = line.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
        found.extend(by_hand.map(str::to_owned));
    }
    found
}

/// Small letters, digits, `-` and `_`; a blank becomes `-`, everything else goes, and of a link only its text stays.
fn anchor(heading: &str) -> String {
    let mut text = String::new();
    for (number, part) in heading.trim().split("](").enumerate() {
        let shown = if number == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) };
        text.push_str(shown);
    }
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}
