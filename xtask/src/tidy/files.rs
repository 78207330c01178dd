//! The files of the repository as git knows them, new ones that are not ignored included.

use crate::error::Error;
use crate::shell;
use std::path::{Path, PathBuf};

/// One text file.
#[derive(Debug)]
pub struct TextFile {
    /// From the root of the repository.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// All Rust files and all pages.
#[derive(Debug)]
pub struct Repository {
    /// Where it stands.
    pub root: PathBuf,
    /// Every `.rs`, by path.
    pub rust: Vec<TextFile>,
    /// Every `.md`, by path.
    pub pages: Vec<TextFile>,
}

impl Repository {
    /// Reads them all.
    pub fn read(root: &Path) -> Result<Self, Error> {
        let listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.rs", "*.md"];
        let mut repository = Self { root: root.to_owned(), rust: Vec::new(), pages: Vec::new() };
        let names = shell::output(root, "git", &listing)?;
        let mut names: Vec<&str> = names.split_terminator('\0').collect();
        names.sort_unstable();
        names.dedup();
        for path in names.into_iter().map(PathBuf::from) {
            // A file deleted and not yet committed as such is still listed.
            if !root.join(&path).is_file() {
                continue;
            }
            let text = shell::read(&root.join(&path))?;
            let rust = path.extension().is_some_and(|extension| extension == "rs");
            let list = if rust { &mut repository.rust } else { &mut repository.pages };
            list.push(TextFile { path, text });
        }
        Ok(repository)
    }

    /// Lines of Rust in the files that `wanted` picks.
    pub fn lines(&self, wanted: impl Fn(&Path) -> bool) -> u64 {
        let picked = self.rust.iter().filter(|file| wanted(&file.path));
        picked.map(|file| file.text.lines().count() as u64).sum()
    }
}

/// Whether all of a file is test code, by where it stands.
#[must_use]
pub fn is_test_path(path: &Path) -> bool {
    let is = |part: &str| ["tests", "benches", "examples", "testkit", "fuzz", "tests.rs"].contains(&part);
    path.iter().filter_map(|part| part.to_str()).any(is)
}

/// A file of which a part of the path is this word.
#[must_use]
pub fn has_part(path: &Path, word: &str) -> bool {
    path.iter().any(|part| part == word)
}
