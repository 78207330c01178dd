//! Comments that only say again what the next line says, and to-do marks nobody explains.

use super::files::{Repository, TextFile, is_test_path};
use super::{Check, Finding};
use std::collections::BTreeSet;

/// Over all Rust files.
pub fn findings(repository: &Repository) -> Vec<Finding> {
    let gaps = repository.pages.iter().find(|page| page.path.ends_with("docs/gaps.md"));
    let gaps = gaps.map_or("", |page| page.text.as_str());
    let mut all = Vec::new();
    for file in &repository.rust {
        restating(file, &mut all);
        if !file.path.starts_with("xtask") {
            todos(file, gaps, &mut all);
        }
    }
    all
}

fn restating(file: &TextFile, all: &mut Vec<Finding>) {
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let plain = |line: &str| line.starts_with("// ");
    for (index, window) in lines.windows(3).enumerate() {
        let [above, comment, below] = window else { continue };
        let alone = plain(comment) && !plain(above) && !below.starts_with("//") && !below.is_empty();
        if alone && says_again(comment, below) {
            let message = format!("`{comment}` says again what the next line says: say why, or nothing");
            let (check, path) = (Check::RestatingComments, file.path.clone());
            all.push(Finding { check, path, line: index + 2, message });
        }
    }
}

/// Whether at least two words carry the comment and all of them stand in the code below, cut to their stems.
fn says_again(comment: &str, code: &str) -> bool {
    let said = stems(comment);
    let shown = stems(code);
    said.len() >= 2 && said.iter().all(|word| shown.iter().any(|other| alike(word, other)))
}

fn alike(word: &str, other: &str) -> bool {
    let (short, long) = if word.len() < other.len() { (word, other) } else { (other, word) };
    short.len() >= 3 && long.starts_with(short)
}

fn stems(text: &str) -> BTreeSet<String> {
    const EMPTY: [&str; 28] = [
        "the", "a", "an", "of", "to", "and", "for", "in", "on", "is", "are", "it", "its", "this", "that",
        "we", "with", "if", "let", "mut", "fn", "pub", "self", "by", "from", "each", "all", "as",
    ];
    let mut words = BTreeSet::new();
    let mut word = String::new();
    for letter in text.chars().chain([' ']) {
        let boundary =
            !letter.is_alphanumeric() || (letter.is_uppercase() && !word.ends_with(char::is_uppercase));
        if boundary && !word.is_empty() {
            let whole = std::mem::take(&mut word).to_lowercase();
            if !EMPTY.contains(&whole.as_str()) {
                words.insert(stem(&whole));
            }
        }
        if letter.is_alphanumeric() {
            word.push(letter);
        }
    }
    words
}

fn stem(word: &str) -> String {
    let ends = ["ing", "ed", "es", "s"];
    let cut = ends.iter().find_map(|end| word.strip_suffix(end).filter(|rest| rest.len() >= 3));
    cut.unwrap_or(word).to_owned()
}

/// A mark is `TODO(slug)` and the slug stands in docs/gaps.md.
fn todos(file: &TextFile, gaps: &str, all: &mut Vec<Finding>) {
    for (index, line) in file.text.lines().enumerate() {
        let Some(comment) = line.find("//").map(|at| &line[at..]) else { continue };
        let Some(mark) = ["TODO", "FIXME", "XXX"].iter().find_map(|mark| comment.split_once(mark)) else {
            continue;
        };
        let slug = mark.1.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(slug, _)| slug);
        if slug.is_some_and(|slug| !slug.is_empty() && gaps.contains(slug)) && !is_test_path(&file.path) {
            continue;
        }
        let message = "write `TODO(slug)` and an entry with that slug in docs/gaps.md, or do it".to_owned();
        all.push(Finding {
            check: Check::UnexplainedTodos,
            path: file.path.clone(),
            line: index + 1,
            message,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn saying_again_is_told_from_saying_why() {
        assert!(says_again("// increment the counter", "self.counter.increment();"));
        assert!(says_again("// Reads the config file", "let config = read_config_file(path)?;"));
        assert!(!says_again(
            "// The kernel counts from boot, not from start",
            "let counter = read_counter()?;"
        ));
        assert!(!says_again("// counter", "counter += 1;"));
    }

    #[test]
    fn a_to_do_needs_its_gap() {
        let rust = |text: &str| TextFile { path: PathBuf::from("a/src/lib.rs"), text: text.to_owned() };
        let find = |text: &str| {
            let mut all = Vec::new();
            todos(&rust(text), "- `slow-pull`: pulls are slow", &mut all);
            all.len()
        };
        assert_eq!(find("// TODO(slow-pull): later"), 0);
        assert_eq!(find("// TODO(other): later"), 1);
        assert_eq!(find("// TODO later"), 1);
        assert_eq!(find("let todo = 1;"), 0);
    }
}
