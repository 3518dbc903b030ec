//! The image's final stage put together by hand and run as a container runtime would: a folder with nothing but the program as
//! the root, read-only, as the user of the image and without capabilities. There is no container runtime where tests run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::repository;

/// A folder like the file system of a container.
pub(crate) struct Root {
    folder: PathBuf,
}

impl Root {
    /// With the program, and what it is linked to: the image has a static one, a test build has the machine's C library.
    #[track_caller]
    pub(crate) fn new(folder: &Path) -> Self {
        let root = Self { folder: folder.to_owned() };
        let program = env!("CARGO_BIN_EXE_sidecarset");
        let linked = Command::new("ldd").arg(program).output().unwrap();
        let told = String::from_utf8_lossy(&linked.stdout).into_owned();
        for library in told.split_whitespace().filter(|word| word.starts_with('/')) {
            root.put(library, &fs::read(library).unwrap());
        }
        root.put("/sidecarset", &fs::read(program).unwrap());
        root
    }

    /// Puts a file that everybody may read and run, as a mounted volume has it.
    #[track_caller]
    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        let inside = self.folder.join(path.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::write(&inside, content).unwrap();
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The words that run the program of the image with these variables and arguments.
    pub(crate) fn command(&self, env: &[(&str, &str)], args: &[String]) -> Vec<String> {
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
        let enter = repository("tests/image/enter").display().to_string();
        let mut words = vec!["env".to_owned(), "-i".to_owned(), path];
        words.extend(env.iter().map(|(name, value)| format!("{name}={value}")));
        words.extend([enter, self.folder.display().to_string(), "/sidecarset".to_owned()]);
        words.extend_from_slice(args);
        words
    }
}
