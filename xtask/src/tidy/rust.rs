//! Checks over the syntax of the Rust files.

use super::facts::Facts;
use super::files::{Repository, has_part, is_test_path};
use super::{Check, Finding};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Everything but orphans.
pub fn findings(facts: &[Facts]) -> Vec<Finding> {
    let mut all = Vec::new();
    for file in facts {
        sizes(file, &mut all);
        words(file, &mut all);
    }
    identical_bodies(facts, &mut all);
    lonely_traits(facts, &mut all);
    all
}

fn find(file: &Facts, check: Check, line: usize, message: String) -> Finding {
    Finding { check, path: file.path.clone(), line, message }
}

fn sizes(file: &Facts, all: &mut Vec<Finding>) {
    for function in &file.functions {
        let message = || format!("`{}` is {} lines long: split it by meaning", function.name, function.lines);
        if function.lines > 100 {
            all.push(find(file, Check::FunctionsOver100Lines, function.line, message()));
        }
        if function.lines > 70 {
            all.push(find(file, Check::FunctionsOver70Lines, function.line, message()));
        }
    }
    if is_test_path(&file.path) {
        return;
    }
    let message = || format!("{} lines before the tests: look for a split by meaning", file.lines);
    if file.lines > 600 {
        all.push(find(file, Check::FilesOver600Lines, 1, message()));
    }
    if file.lines > 1000 {
        all.push(find(file, Check::FilesOver1000Lines, 1, message()));
    }
}

fn words(file: &Facts, all: &mut Vec<Finding>) {
    if !file.documented {
        all.push(find(
            file,
            Check::MissingModuleDocs,
            1,
            "say with `//!` what it is in charge of".to_owned(),
        ));
    }
    if file.path.starts_with("crates/core") {
        let clones = file.clones.iter();
        all.extend(clones.map(|&line| find(file, Check::ClonesInCore, line, "borrow or move it".to_owned())));
    }
    // Where text comes in, job files and traces, nothing else is the charge.
    let reads_text = ["crates/spec", "crates/sim/src/trace"].iter().any(|part| file.path.starts_with(part));
    let text = file.string_control_flow.iter().filter(|_| !reads_text);
    let message = "parse the text into a type where it comes in, then decide by that";
    all.extend(text.map(|&line| find(file, Check::StringControlFlow, line, message.to_owned())));
    if has_part(&file.path, "testkit") || file.path.starts_with("crates/sim") {
        return;
    }
    for (name, line) in &file.names {
        let lower = name.to_lowercase();
        let doubled =
            ["mock", "fake", "stub"].iter().any(|word| lower.starts_with(word) || lower.ends_with(word));
        if doubled {
            let message = format!("`{name}`: test against the real thing, the testkit or the simulator");
            all.push(find(file, Check::Mocks, *line, message));
        }
    }
}

fn identical_bodies(facts: &[Facts], all: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&str, (&Path, usize)> = BTreeMap::new();
    for file in facts {
        for function in file.functions.iter().filter(|function| function.body_lines >= 6) {
            let Some((path, line)) = seen.get(function.body.as_str()) else {
                seen.insert(&function.body, (&file.path, function.line));
                continue;
            };
            let message = format!("`{}` has the body of {}:{line}", function.name, path.display());
            all.push(find(file, Check::IdenticalBodies, function.line, message));
        }
    }
}

fn lonely_traits(facts: &[Facts], all: &mut Vec<Finding>) {
    let mut implementations: BTreeMap<&str, usize> = BTreeMap::new();
    for name in facts.iter().flat_map(|file| &file.implemented) {
        *implementations.entry(name).or_default() += 1;
    }
    for file in facts {
        for item in file.traits.iter().filter(|item| !item.seam) {
            let count = implementations.get(item.name.as_str()).copied().unwrap_or_default();
            if count < 2 {
                let message = format!(
                    "`{}` has {count} implementations: use a type, or say why above it with `// seam: reason`",
                    item.name
                );
                all.push(find(file, Check::OneImplTraits, item.line, message));
            }
        }
    }
}

/// Rust files that no `mod` leads to.
pub fn orphans(repository: &Repository, facts: &[Facts]) -> Vec<Finding> {
    let by_path: BTreeMap<&Path, &Facts> = facts.iter().map(|file| (file.path.as_path(), file)).collect();
    let mut reached: BTreeSet<PathBuf> = BTreeSet::new();
    let mut todo: Vec<PathBuf> = by_path
        .keys()
        .filter(|path| is_crate_root(&repository.root, path))
        .map(|&path| path.to_owned())
        .collect();
    while let Some(path) = todo.pop() {
        let Some(file) = by_path.get(path.as_path()) else { continue };
        if reached.insert(path) {
            todo.extend(file.modules.iter().flat_map(|module| candidates(&file.path, module)));
        }
    }
    let lost = facts.iter().filter(|file| !reached.contains(&file.path));
    lost.map(|file| find(file, Check::OrphanFiles, 1, "no `mod` leads here: it is never compiled".to_owned()))
        .collect()
}

fn is_crate_root(root: &Path, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    if ["lib.rs", "main.rs", "build.rs"].iter().any(|&root| name == root) {
        return true;
    }
    let Some(folder) = path.parent() else { return false };
    let holds = ["tests", "benches", "examples", "bin", "fuzz_targets"];
    let crate_folder =
        if folder.ends_with("src/bin") { folder.parent().and_then(Path::parent) } else { folder.parent() };
    let of_a_crate = crate_folder.is_some_and(|above| root.join(above).join("Cargo.toml").is_file());
    of_a_crate && holds.iter().any(|&word| folder.ends_with(word))
}

fn candidates(from: &Path, module: &super::facts::Module) -> Vec<PathBuf> {
    let folder = from.parent().unwrap_or(Path::new(""));
    if let Some(path) = &module.path {
        return vec![folder.join(path)];
    }
    let stem = from.file_stem().unwrap_or_default();
    let mut base = folder.to_owned();
    // `lib.rs`, `main.rs`, `mod.rs` and the roots of tests, benches and examples keep their modules beside them, the others in a folder of their name.
    let beside = ["lib", "main", "mod", "build"].iter().any(|&name| stem == name);
    let of_roots =
        ["tests", "benches", "examples", "fuzz_targets"].iter().any(|&name| folder.ends_with(name));
    if !beside && !of_roots {
        base.push(stem);
    }
    let (last, around) =
        module.names.split_last().map_or(("", &[][..]), |(last, around)| (last.as_str(), around));
    base.extend(around);
    vec![base.join(format!("{last}.rs")), base.join(last).join("mod.rs")]
}

#[cfg(test)]
mod tests {
    use super::super::facts;
    use super::super::files::TextFile;
    use super::*;

    fn check(path: &str, text: &str) -> Vec<(Check, usize)> {
        let file = TextFile { path: PathBuf::from(path), text: text.to_owned() };
        let facts = [facts::of(&file).expect("parses")];
        findings(&facts).into_iter().map(|finding| (finding.check, finding.line)).collect()
    }

    #[test]
    fn a_long_function_is_found() {
        let text = format!("//! Doc.\nfn long() {{\n{}}}\n", "    step();\n".repeat(99));
        let found = check("crates/x/src/lib.rs", &text);
        assert_eq!(found, [(Check::FunctionsOver100Lines, 2), (Check::FunctionsOver70Lines, 2)]);
    }

    #[test]
    fn deciding_by_text_is_found_and_reading_text_is_not() {
        let body = "(x: &str) -> u8 { match x { \"a\" => act(), _ => 2 } }";
        let found = check("crates/x/src/lib.rs", &format!("//! D.\nfn go{body}\nfn parse_go{body}\n"));
        assert_eq!(found, [(Check::StringControlFlow, 2)]);
        let table =
            "//! D.\nfn go(x: &str) -> u8 { match x { \"a\" => Some(1), \".\" => act(), _ => None } }\n";
        assert_eq!(check("crates/x/src/lib.rs", table), []);
        let branch = "//! D.\nfn go(x: &str) { if x == \"a\" { stop() } }\n";
        assert_eq!(check("crates/x/src/lib.rs", branch), [(Check::StringControlFlow, 2)]);
    }

    #[test]
    fn clones_count_in_the_core_outside_tests() {
        let text = "//! D.\nfn a() { b.clone(); }\n#[cfg(test)]\nmod tests { fn c() { d.clone(); } }\n";
        assert_eq!(check("crates/core/src/lib.rs", text), [(Check::ClonesInCore, 2)]);
        assert_eq!(check("crates/node/src/lib.rs", text), []);
    }

    #[test]
    fn a_trait_needs_two_implementations_or_a_reason() {
        assert_eq!(
            check("a/src/lib.rs", "//! D.\ntrait T {}\nimpl T for A {}\n"),
            [(Check::OneImplTraits, 2)]
        );
        assert_eq!(check("a/src/lib.rs", "//! D.\ntrait T {}\nimpl T for A {}\nimpl T for B {}\n"), []);
        assert_eq!(check("a/src/lib.rs", "//! D.\n// seam: the simulator\n/// Doc.\npub trait T {}\n"), []);
    }

    #[test]
    fn the_same_body_twice_is_found() {
        let body = "{\n    a();\n    b();\n    c();\n    d();\n    e();\n    f();\n}\n";
        let text = format!("//! D.\nfn one() {body}fn two() {body}");
        assert_eq!(check("a/src/lib.rs", &text), [(Check::IdenticalBodies, 10)]);
    }

    #[test]
    fn doubles_and_silent_files_are_found() {
        assert_eq!(check("a/src/lib.rs", "//! D.\nstruct MockClock;\n"), [(Check::Mocks, 2)]);
        assert_eq!(check("crates/core/src/testkit/mod.rs", "//! D.\nstruct FakeNode;\n"), []);
        assert_eq!(check("a/src/lib.rs", "fn a() {}\n"), [(Check::MissingModuleDocs, 1)]);
    }

    #[test]
    fn modules_are_followed_and_orphans_found() {
        let file = |path: &str, text: &str| TextFile { path: PathBuf::from(path), text: text.to_owned() };
        let rust = vec![
            file("a/src/lib.rs", "//! D.\nmod b;\nmod inline { mod deep; }\n"),
            file("a/src/b.rs", "//! D.\nmod c;\n"),
            file("a/src/b/c.rs", "//! D.\n"),
            file("a/src/inline/deep.rs", "//! D.\n"),
            file("a/src/lost.rs", "//! D.\n"),
        ];
        let repository = Repository { root: PathBuf::from("/nowhere"), rust, pages: Vec::new() };
        let facts = facts::gather(&repository).expect("parses");
        let lost: Vec<PathBuf> =
            orphans(&repository, &facts).into_iter().map(|finding| finding.path).collect();
        assert_eq!(lost, [PathBuf::from("a/src/lost.rs")]);
    }
}
