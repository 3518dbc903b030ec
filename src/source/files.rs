//! The files of a folder, and what is told about them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use sidecarset_core::field::FieldError;

/// Largest file that is read, so that a file put there by mistake cannot eat the memory.
const LARGEST_FILE: u64 = 64 << 20;
/// Deepest folder below the one named; more is a loop of symbolic links.
const DEEPEST: usize = 8;

/// One thing that is wrong with the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, or the folder itself.
    pub file: PathBuf,
    /// Number of the document in the file, from 1.
    pub document: Option<usize>,
    /// Position in the document if that is a List.
    pub item: Option<usize>,
    /// Line and column, both from 1, where the text itself cannot be read.
    pub position: Option<(u64, u64)>,
    /// Name of the SidecarSet that it is about.
    pub set: Option<String>,
    /// The rule that says so, of a SidecarSet; `detail` is its text then.
    pub finding: Option<FieldError>,
    /// For people: field, what was found, what would be right.
    pub detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if let Some(document) = self.document {
            write!(f, "document {document}: ")?;
        }
        if let Some(item) = self.item {
            write!(f, "items[{item}]: ")?;
        }
        if let Some(set) = &self.set {
            write!(f, "SidecarSet {set:?}: ")?;
        }
        f.write_str(&self.detail)
    }
}

/// The files of a folder with their contents, read at one time.
#[derive(Debug, Default)]
pub struct Files(pub(super) BTreeMap<PathBuf, Vec<u8>>);

impl Files {
    /// Reads every `*.yaml`, `*.yml` and `*.json` in `dir` and its folders. What starts with a dot is left out: editors
    /// keep their files there, and a mounted ConfigMap its generations, which the visible names link to.
    ///
    /// # Errors
    ///
    /// Every file and folder that cannot be read.
    pub fn read(dir: &Path) -> Result<Self, Vec<Problem>> {
        let mut files = Self::default();
        let mut problems = Vec::new();
        files.add_folder(dir, DEEPEST, &mut problems);
        if problems.is_empty() { Ok(files) } else { Err(problems) }
    }

    fn add_folder(&mut self, dir: &Path, depth: usize, problems: &mut Vec<Problem>) {
        let mut problem = |file: &Path, detail: String| {
            problems.push(Problem { file: file.to_owned(), detail, ..Problem::default() });
        };
        if depth == 0 {
            return problem(
                dir,
                format!("more than {DEEPEST} folders deep; is there a link to a folder above?"),
            );
        }
        let entries = match fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => {
                return problem(
                    dir,
                    format!("cannot read the folder: {error}; it must exist and be readable"),
                );
            }
        };
        for path in entries.into_iter().map(|entry| entry.path()) {
            let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden {
                continue;
            }
            if path.is_dir() {
                self.add_folder(&path, depth - 1, problems);
            } else if has_our_extension(&path) {
                match read_bounded(&path) {
                    Ok(bytes) => {
                        self.0.insert(path, bytes);
                    }
                    Err(detail) => problems.push(Problem { file: path, detail, ..Problem::default() }),
                }
            }
        }
    }

    /// One text that was read elsewhere, under a name for messages.
    #[must_use]
    pub fn of_text(name: &Path, text: Vec<u8>) -> Self {
        Self(BTreeMap::from([(name.to_owned(), text)]))
    }

    /// The content of a file, `None` if it is not among them.
    #[must_use]
    pub fn content(&self, file: &Path) -> Option<&[u8]> {
        self.0.get(file).map(Vec::as_slice)
    }

    /// Number of files.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Changes when any name or content changes.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }
}

fn has_our_extension(path: &Path) -> bool {
    path.extension().is_some_and(|e| ["yaml", "yml", "json"].iter().any(|ours| e.eq_ignore_ascii_case(ours)))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot read the file: {error}"))?.len();
    if size > LARGEST_FILE {
        return Err(format!("the file has {size} bytes, at most {LARGEST_FILE} are read; split it"));
    }
    fs::read(path).map_err(|error| format!("cannot read the file: {error}"))
}
