//! `llms.txt` ([llmstxt.org](https://llmstxt.org)): the list of the documentation for programs that read it. Made of
//! `docs/README.md` and the first sentence of each page, so that it says what is there; `--update` writes it.

use super::files::Repository;
use super::{Check, Finding};
use crate::error::Error;
use std::path::{Path, PathBuf};

/// Where it stands.
const FILE: &str = "llms.txt";

/// Whether the file is as the pages make it.
pub fn findings(repository: &Repository) -> Vec<Finding> {
    let kept = std::fs::read_to_string(repository.root.join(FILE)).unwrap_or_default();
    if kept == text(repository) {
        return Vec::new();
    }
    let message = "not as docs/README.md and its pages make it: run `cargo xtask tidy --update`".to_owned();
    vec![Finding { check: Check::StaleLlmsTxt, path: PathBuf::from(FILE), line: 1, message }]
}

/// Writes it.
pub fn write(repository: &Repository) -> Result<(), Error> {
    let path = repository.root.join(FILE);
    std::fs::write(&path, text(repository)).map_err(|source| Error::File { doing: "write", path, source })
}

fn text(repository: &Repository) -> String {
    let page = |path: &Path| {
        repository.pages.iter().find(|page| page.path == path).map_or("", |page| page.text.as_str())
    };
    let about = opening(page(Path::new("README.md")));
    let mut text = format!(
        "# Millpond\n\n> {about}\n\n\
         Every command prints JSON with `--json`. A running pool describes its API at `/api/v1/openapi.json` (OpenAPI 3.1), the command line \
         the job file (`pond schema`), and `pond mcp` offers the pool as tools. A running pool serves this file and the pages below.\n"
    );
    for line in page(Path::new("docs/README.md")).lines().skip(3) {
        match entry(line) {
            Some((title, file, note)) => {
                let path = Path::new("docs").join(file);
                let note = if note.is_empty() { sentence(&opening(page(&path))) } else { note.to_owned() };
                text.push_str(&format!("- [{title}]({}): {note}\n", path.display()));
            }
            None if line.is_empty() || line.starts_with("- ") => {}
            None => text.push_str(&format!("\n## {line}\n\n")),
        }
    }
    text
}

/// Title, file and note of a list entry that leads to a page beside the list.
fn entry(line: &str) -> Option<(&str, &str, &str)> {
    let (title, rest) = line.strip_prefix("- [")?.split_once("](")?;
    let (file, note) = rest.split_once(')')?;
    let beside = file.ends_with(".md") && !file.contains('/');
    beside.then(|| (title, file, note.trim_start_matches(": ")))
}

/// The first paragraph of prose of a page, in one line, without links.
fn opening(page: &str) -> String {
    let prose =
        |line: &&str| !line.is_empty() && !line.starts_with(['#', '<', '!', '|']) && !line.starts_with("```");
    let lines = page.lines().skip_while(|line| !prose(line)).take_while(|line| prose(line));
    let mut text = lines.collect::<Vec<_>>().join(" ");
    while let Some((before, rest)) = text.split_once("](")
        && let Some((before, words)) = before.rsplit_once('[')
        && let Some((_, after)) = rest.split_once(')')
    {
        text = format!("{before}{words}{after}");
    }
    text
}

/// Up to the first full stop that ends a sentence.
fn sentence(text: &str) -> String {
    let end = text.find(". ").map_or(text.len(), |at| at + 1);
    text[..end].trim_end_matches(':').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::files::TextFile;

    #[test]
    fn it_is_made_of_the_list_and_of_what_pages_begin_with() {
        let page = |path: &str, text: &str| TextFile { path: PathBuf::from(path), text: text.to_owned() };
        let pages = vec![
            page("README.md", "# M\n\nTurns machines\ninto a pool.\n\n## More\n"),
            page(
                "docs/README.md",
                "# D\n\nText.\n\nFirst\n- [One](one.md)\n- [Two](two.md): a note\n- [Out](../X.md)\n",
            ),
            page(
                "docs/one.md",
                "# One\n\n<!-- needs: root -->\n\nSee [this `x`](two.md) first. Then\nthat.\n",
            ),
        ];
        let made = text(&Repository { root: PathBuf::new(), rust: Vec::new(), pages });
        assert!(made.starts_with("# Millpond\n\n> Turns machines into a pool.\n\n"), "{made}");
        let list = "\n## First\n\n- [One](docs/one.md): See this `x` first.\n- [Two](docs/two.md): a note\n";
        assert!(made.ends_with(list), "{made}");
    }
}
