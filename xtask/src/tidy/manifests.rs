//! What crates may depend on: each other, the outside world, and under which licences.

use super::{Check, Finding};
use crate::error::Error;
use crate::shell;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Arrows between crates of the workspace, as ARCHITECTURE.md draws them. Nothing else.
const ARROWS: [(&str, &[&str]); 15] = [
    ("pond-core", &[]),
    ("pond-spec", &["pond-core"]),
    ("pond-learn", &["pond-core"]),
    ("pond-sim", &["pond-core"]),
    ("pond-share", &[]),
    ("pond-shims", &["pond-share"]),
    ("pond-nvidia", &["pond-share", "pond-nvidia-model"]),
    ("pond-nvidia-mig", &["pond-nvidia-model"]),
    ("pond-nvidia-model", &[]),
    ("pond-store", &["pond-core"]),
    ("pond-node", &["pond-core", "pond-nvidia-mig", "pond-share"]),
    ("pond-kube", &["pond-core"]),
    ("pond-server", &["pond-core", "pond-spec", "pond-learn", "pond-store"]),
    ("xtask", &[]),
    ("pond-e2e", &["pond-nvidia-model"]),
];

/// The one crate that may depend on all others.
const TOP: &str = "pond";

/// All that pond-core may pull in, directly or not.
const CORE: [&str; 10] = [
    "pond-core",
    "proc-macro2",
    "quote",
    "serde",
    "serde_core",
    "serde_derive",
    "syn",
    "thiserror",
    "thiserror-impl",
    "unicode-ident",
];

/// Licences that put no terms on those who use the binary, beyond naming the authors.
const LICENCES: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Over the manifests of the workspace and of everything it pulls in.
pub fn findings(root: &Path) -> Result<Vec<Finding>, Error> {
    let mut all = arrows(&metadata(root, &["--no-deps"])?);
    all.extend(licences(&metadata(root, &["--locked"])?));
    let tree = ["tree", "--package", "pond-core", "--edges", "normal", "--prefix", "none", "--locked"];
    all.extend(core(&shell::output(root, "cargo", &tree)?));
    Ok(all)
}

fn metadata(root: &Path, more: &[&str]) -> Result<Vec<Value>, Error> {
    let arguments: Vec<&str> = ["metadata", "--format-version", "1"].iter().chain(more).copied().collect();
    let text = shell::output(root, "cargo", &arguments)?;
    let whole: Value = serde_json::from_str(&text)
        .map_err(|source| Error::Json { program: "cargo metadata".to_owned(), source })?;
    Ok(whole["packages"].as_array().cloned().unwrap_or_default())
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

fn arrows(packages: &[Value]) -> Vec<Finding> {
    let members: Vec<&str> = packages.iter().map(name).collect();
    let mut all = Vec::new();
    for package in packages.iter().filter(|package| name(package) != TOP) {
        let from = name(package);
        let allowed = ARROWS.iter().find(|(member, _)| *member == from).map_or(&[][..], |(_, to)| to);
        let known = ARROWS.iter().any(|(member, _)| *member == from);
        let targets = package["dependencies"].as_array().into_iter().flatten().map(name);
        let inner = targets.filter(|to| members.contains(to) && *to != from);
        let forbidden = inner.filter(|to| !allowed.contains(to));
        all.extend(
            forbidden.map(|to| manifest(Check::ForbiddenArrows, from, format!("{from} -> {to} is no arrow"))),
        );
        if !known {
            let message = format!("{from} is not in the map of crates: add it to ARCHITECTURE.md and xtask");
            all.push(manifest(Check::ForbiddenArrows, from, message));
        }
    }
    all
}

fn manifest(check: Check, package: &str, message: String) -> Finding {
    Finding { check, path: PathBuf::from(package).join("Cargo.toml"), line: 1, message }
}

fn core(tree: &str) -> Vec<Finding> {
    let names = tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty());
    let strange = names.filter(|name| !CORE.contains(name));
    strange.map(|name| manifest(Check::CoreDependencies, "pond-core", format!("pulls in {name}"))).collect()
}

fn licences(packages: &[Value]) -> Vec<Finding> {
    let mut all = Vec::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none given");
        if !permitted(licence) {
            all.push(manifest(Check::Licences, name(package), format!("licence is {licence}")));
        }
        let source = package["source"].as_str();
        if source.is_some_and(|source| !source.starts_with("registry+")) {
            all.push(manifest(
                Check::Licences,
                name(package),
                "comes from neither here nor a registry".to_owned(),
            ));
        }
    }
    all
}

/// An SPDX expression as crates write them: `OR` (or `/`) of `AND`s, brackets only around whole alternatives.
fn permitted(expression: &str) -> bool {
    let flat = expression.replace('/', " OR ");
    let mut depth = 0_usize;
    let mut parts = vec![String::new()];
    for letter in flat.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            other => parts.last_mut().into_iter().for_each(|part| part.push(other)),
        }
        if depth == 0 && parts.last().is_some_and(|part| part.ends_with(" AND ")) {
            parts.push(String::new());
        }
    }
    parts.iter().all(|part| {
        let part = part.trim_end_matches(" AND ");
        part.split(" OR ").any(|choice| choice.split(" AND ").all(|one| LICENCES.contains(&one.trim())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn licences_are_read_as_written() {
        for good in
            ["MIT OR Apache-2.0", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-2.0) AND Unicode-3.0"]
        {
            assert!(permitted(good), "{good}");
        }
        for bad in ["GPL-3.0-only", "MIT AND GPL-3.0", "none given", "(MIT OR Apache-2.0) AND GPL-2.0"] {
            assert!(!permitted(bad), "{bad}");
        }
    }

    #[test]
    fn arrows_outside_the_map_are_found() {
        let package = |name: &str, to: &[&str]| {
            let to: Vec<Value> = to.iter().map(|name| json!({"name": name})).collect();
            json!({"name": name, "dependencies": to})
        };
        let good = [package("pond-core", &["serde"]), package("pond-node", &["pond-core"])];
        assert_eq!(arrows(&good), []);
        let bad = [package("pond-core", &["pond-node"]), package("pond-node", &[]), package("pond-new", &[])];
        let messages: Vec<String> = arrows(&bad).into_iter().map(|finding| finding.message).collect();
        assert!(messages[0].contains("pond-core -> pond-node"), "{messages:?}");
        assert!(messages[1].contains("pond-new is not in the map"), "{messages:?}");
    }

    #[test]
    fn a_dependency_of_the_core_off_the_list_is_found() {
        assert_eq!(core("pond-core v0.1.0 (/x)\nserde v1.0.0\n").len(), 0);
        assert_eq!(core("pond-core v0.1.0 (/x)\ntokio v1.0.0\n").len(), 1);
    }
}
