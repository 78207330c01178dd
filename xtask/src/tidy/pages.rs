//! Links between pages: every relative one leads to a file, and to a heading or a line of it.

use super::files::{Repository, TextFile};
use super::{Check, Finding};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Over all pages.
pub fn findings(repository: &Repository) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut reached: BTreeSet<PathBuf> = BTreeSet::new();
    for page in &repository.pages {
        for (line, target) in links(&page.text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if let Err(message) = follow(repository, page, &target, &mut reached) {
                let (check, path) = (Check::DeadLinks, page.path.clone());
                all.push(Finding { check, path, line, message });
            }
        }
    }
    let lost =
        repository.pages.iter().filter(|page| page.path.starts_with("docs") && !reached.contains(&page.path));
    all.extend(lost.map(|page| Finding {
        check: Check::OrphanPages,
        path: page.path.clone(),
        line: 1,
        message: "no other page leads here: link it from docs/README.md".to_owned(),
    }));
    all
}

fn follow(
    repository: &Repository,
    page: &TextFile,
    target: &str,
    reached: &mut BTreeSet<PathBuf>,
) -> Result<(), String> {
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() {
        page.path.clone()
    } else {
        normal(&page.path.parent().unwrap_or(Path::new("")).join(file))
    };
    let whole = repository.root.join(&path);
    if !whole.exists() {
        return Err(format!("`{target}` leads to {}, which is not there", path.display()));
    }
    if path != page.path {
        reached.insert(path.clone());
    }
    let Some(anchor) = anchor else { return Ok(()) };
    let text =
        std::fs::read_to_string(&whole).map_err(|error| format!("`{target}` cannot be read: {error}"))?;
    let holds = match anchor.strip_prefix('L').map(str::parse::<usize>) {
        Some(Ok(line)) => line <= text.lines().count(),
        _ => headings(&text).contains(anchor),
    };
    if holds { Ok(()) } else { Err(format!("`{target}`: no such heading or line in {}", path.display())) }
}

fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = parts.pop(),
            Component::CurDir => {}
            other => parts.push(other),
        }
    }
    parts
}

/// Lines outside code fences, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// Targets of `[text](target)` and of `src="target"`, outside code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        for (open, close) in [("](", ')'), ("src=\"", '"')] {
            for part in outside.split(open).skip(1) {
                if let Some((target, _)) = part.split_once(close) {
                    found.push((number, target.split(' ').next().unwrap_or_default().to_owned()));
                }
            }
        }
    }
    found
}

/// Anchors as GitHub makes them: lower case, spaces to hyphens, other marks dropped, doubles numbered.
fn headings(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text).filter(|(_, line)| line.starts_with('#')) {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let slug: String = title
            .chars()
            .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        let count = seen.entry(slug.clone()).or_default();
        anchors.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
        *count += 1;
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code() {
        let text = "[a](b.md) and `[c](d.md)`\n```\n[e](f.md)\n```\n![g](h.svg)";
        assert_eq!(links(text), [(1, "b.md".to_owned()), (5, "h.svg".to_owned())]);
    }

    #[test]
    fn anchors_are_those_of_github() {
        let anchors = headings("# A `b` c: d\n## Same\n## Same\n");
        assert_eq!(anchors.into_iter().collect::<Vec<_>>(), ["a-b-c-d", "same", "same-1"]);
    }

    #[test]
    fn dead_links_and_lost_pages_are_found() {
        let root = crate::shell::root().expect("the repository");
        let page = |path: &str, text: &str| TextFile { path: PathBuf::from(path), text: text.to_owned() };
        let pages = vec![
            page("docs/README.md", "[x](nowhere.md) [y](../Cargo.toml#L1) [z](../Cargo.toml#L99999)"),
            page("docs/lost.md", "text"),
        ];
        let repository = Repository { root, rust: Vec::new(), pages };
        let found: Vec<(Check, usize)> =
            findings(&repository).into_iter().map(|finding| (finding.check, finding.line)).collect();
        use Check::{DeadLinks, OrphanPages};
        assert_eq!(found, [(DeadLinks, 1), (DeadLinks, 1), (OrphanPages, 1), (OrphanPages, 1)]);
    }
}
