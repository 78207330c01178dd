//! The file of recorded counts.

use super::Check;
use crate::error::Error;
use crate::shell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

const FILE: &str = "xtask/ratchets.toml";
const HEAD: &str = "\
# Counts of `cargo xtask tidy`. They may only fall; `cargo xtask tidy --update` writes a fall down.
# To raise one, change it by hand and say why in the commit.
";

/// Counts by key; empty when there is no file yet.
pub fn read(root: &Path) -> Result<BTreeMap<String, u64>, Error> {
    let path = root.join(FILE);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    parse(&shell::read(&path)?)
}

fn parse(text: &str) -> Result<BTreeMap<String, u64>, Error> {
    let mut counts = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let parsed = line.split_once('=').and_then(|(key, value)| Some((key, value.trim().parse().ok()?)));
        let Some((key, value)) = parsed else {
            return Err(Error::Ratchet { line: index + 1, text: line.to_owned() });
        };
        counts.insert(key.trim().to_owned(), value);
    }
    Ok(counts)
}

/// Writes all counts in the order of [`Check::ALL`].
pub fn write(root: &Path, counts: &BTreeMap<Check, u64>) -> Result<(), Error> {
    let mut text = HEAD.to_owned();
    for check in Check::ALL {
        let count = counts.get(&check).copied().unwrap_or_default();
        _ = writeln!(text, "{} = {count}", check.key());
    }
    let path = root.join(FILE);
    std::fs::write(&path, text).map_err(|source| Error::File { doing: "write", path, source })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_counts_and_refuses_the_rest() {
        let counts = parse("# head\nfiles_over_600_lines = 2 # why\n\n").expect("valid");
        assert_eq!(counts["files_over_600_lines"], 2);
        assert!(parse("files_over_600_lines = many").is_err());
    }
}
