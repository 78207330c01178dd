//! Text checks over the whole repository, each a count that may only fall.
//!
//! A check is a function from the repository to findings; [`Check`] names them all. The counts stand
//! in `xtask/ratchets.toml`: one more than there fails, and so does one less, until
//! `cargo xtask tidy --update` has written the fall down. What has a ceiling is refused above it
//! whatever the file says.

mod comments;
mod facts;
mod files;
mod llms;
mod manifests;
mod pages;
mod ratchets;
mod rust;

use crate::error::Error;
use files::Repository;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Everything that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// A function of more than 100 lines.
    FunctionsOver100Lines,
    /// A function of more than 70 lines.
    FunctionsOver70Lines,
    /// A file of more than 600 lines, inline tests left out.
    FilesOver600Lines,
    /// A file of more than 1,000 lines, inline tests left out.
    FilesOver1000Lines,
    /// A comment that says again what the next line says.
    RestatingComments,
    /// Control flow that hangs on comparing text.
    StringControlFlow,
    /// `.clone()` in the core.
    ClonesInCore,
    /// A function body of 6 lines or more that stands elsewhere too.
    IdenticalBodies,
    /// A trait with fewer than two implementations and no `// seam: reason`.
    OneImplTraits,
    /// A to-do mark without an entry in docs/gaps.md.
    UnexplainedTodos,
    /// A mock, fake or stub outside testkit and sim.
    Mocks,
    /// A Rust file that no crate contains.
    OrphanFiles,
    /// A Rust file without `//!`.
    MissingModuleDocs,
    /// A relative link that leads nowhere.
    DeadLinks,
    /// A page under docs/ that no other page leads to.
    OrphanPages,
    /// An arrow between crates that the architecture does not have.
    ForbiddenArrows,
    /// A dependency of pond-core outside its allow-list.
    CoreDependencies,
    /// A dependency whose licence or source is not on the list.
    Licences,
    /// `llms.txt` is not as the pages make it.
    StaleLlmsTxt,
}

impl Check {
    /// All of them, in the order of the ratchet file.
    pub const ALL: [Self; 19] = [
        Self::FunctionsOver100Lines,
        Self::FunctionsOver70Lines,
        Self::FilesOver600Lines,
        Self::FilesOver1000Lines,
        Self::RestatingComments,
        Self::StringControlFlow,
        Self::ClonesInCore,
        Self::IdenticalBodies,
        Self::OneImplTraits,
        Self::UnexplainedTodos,
        Self::Mocks,
        Self::OrphanFiles,
        Self::MissingModuleDocs,
        Self::DeadLinks,
        Self::OrphanPages,
        Self::ForbiddenArrows,
        Self::CoreDependencies,
        Self::Licences,
        Self::StaleLlmsTxt,
    ];

    /// Its key in the ratchet file.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::FunctionsOver100Lines => "functions_over_100_lines",
            Self::FunctionsOver70Lines => "functions_over_70_lines",
            Self::FilesOver600Lines => "files_over_600_lines",
            Self::FilesOver1000Lines => "files_over_1000_lines",
            Self::RestatingComments => "restating_comments_per_10000_lines",
            Self::StringControlFlow => "string_control_flow_per_10000_lines",
            Self::ClonesInCore => "clones_in_core_per_1000_lines",
            Self::IdenticalBodies => "identical_bodies_of_6_lines",
            Self::OneImplTraits => "one_impl_traits_without_seam",
            Self::UnexplainedTodos => "todos_without_gap",
            Self::Mocks => "mocks_outside_testkit_and_sim",
            Self::OrphanFiles => "orphan_rust_files",
            Self::MissingModuleDocs => "rust_files_without_module_docs",
            Self::DeadLinks => "dead_links",
            Self::OrphanPages => "orphan_pages",
            Self::ForbiddenArrows => "forbidden_arrows",
            Self::CoreDependencies => "core_dependencies_off_list",
            Self::Licences => "licences_off_list",
            Self::StaleLlmsTxt => "stale_llms_txt",
        }
    }

    /// What is refused whatever the ratchet file says.
    const fn ceiling(self) -> Option<u64> {
        match self {
            Self::FunctionsOver70Lines | Self::FilesOver600Lines | Self::FilesOver1000Lines => None,
            Self::RestatingComments => Some(13),
            Self::StringControlFlow => Some(3),
            Self::ClonesInCore => Some(10),
            _ => Some(0),
        }
    }

    /// The number of lines one unit of the count stands for, and of which code; absent: plain findings.
    const fn rate(self) -> Option<(u64, Scope)> {
        match self {
            Self::RestatingComments | Self::StringControlFlow => Some((10_000, Scope::All)),
            Self::ClonesInCore => Some((1_000, Scope::Core)),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    All,
    Core,
}

/// One place that a check does not like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// By which check.
    pub check: Check,
    /// In which file, from the root.
    pub path: PathBuf,
    /// In which line, from 1.
    pub line: usize,
    /// What and what to do.
    pub message: String,
}

/// Counts of all checks, and what was found.
#[derive(Debug)]
pub struct Verdict {
    counts: BTreeMap<Check, u64>,
    findings: Vec<Finding>,
    lines: u64,
}

fn examine(root: &Path) -> Result<Verdict, Error> {
    let repository = Repository::read(root)?;
    let facts = facts::gather(&repository)?;
    let mut findings = Vec::new();
    findings.extend(rust::findings(&facts));
    findings.extend(comments::findings(&repository));
    findings.extend(pages::findings(&repository));
    findings.extend(rust::orphans(&repository, &facts));
    findings.extend(manifests::findings(root)?);
    findings.extend(llms::findings(&repository));
    findings.sort();
    let counts = Check::ALL.map(|check| (check, count(check, &findings, &repository))).into();
    Ok(Verdict { counts, findings, lines: repository.lines(|_| true) })
}

/// Findings, or findings per so many lines rounded up: a rate moves with every commit, so only whole units count.
fn count(check: Check, findings: &[Finding], repository: &Repository) -> u64 {
    let found = findings.iter().filter(|finding| finding.check == check).count() as u64;
    let Some((unit, scope)) = check.rate() else { return found };
    let lines = match scope {
        Scope::All => repository.lines(|_| true),
        Scope::Core => repository.lines(|path| path.starts_with("crates/core")),
    };
    (found * unit).div_ceil(lines.max(unit))
}

/// The complaints of one check against its recorded count, empty when it holds.
fn judge(check: Check, verdict: &Verdict, recorded: Option<u64>) -> Option<String> {
    let now = verdict.counts.get(&check).copied().unwrap_or_default();
    let allowed = recorded.unwrap_or_default();
    if let Some(ceiling) = check.ceiling().filter(|&ceiling| now > ceiling) {
        return Some(format!("{}: {now}, and more than {ceiling} is refused", check.key()));
    }
    match (now.cmp(&allowed), recorded) {
        (_, None) => Some(format!("{}: {now}, not yet in xtask/ratchets.toml", check.key())),
        (std::cmp::Ordering::Greater, _) => Some(format!("{}: {now}, was {allowed}", check.key())),
        (std::cmp::Ordering::Less, _) => Some(format!(
            "{}: {now}, fell from {allowed}: record it with `cargo xtask tidy --update`",
            check.key()
        )),
        (std::cmp::Ordering::Equal, _) => None,
    }
}

/// Runs all checks and says what does not hold.
///
/// # Errors
/// When the repository cannot be read.
pub fn command(root: &Path, update: bool) -> Result<ExitCode, Error> {
    if update {
        llms::write(&Repository::read(root)?)?;
    }
    let verdict = examine(root)?;
    let recorded = ratchets::read(root)?;
    if update {
        ratchets::write(root, &lowered(&verdict.counts, &recorded))?;
    }
    let recorded = ratchets::read(root)?;
    let mut failed = 0;
    for check in Check::ALL {
        let Some(complaint) = judge(check, &verdict, recorded.get(check.key()).copied()) else { continue };
        failed += 1;
        println!("{complaint}");
        for finding in verdict.findings.iter().filter(|finding| finding.check == check) {
            println!("  {}:{}: {}", finding.path.display(), finding.line, finding.message);
        }
    }
    println!(
        "tidy: {} lines of Rust, {} checks hold, {failed} do not",
        verdict.lines,
        Check::ALL.len() - failed
    );
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the file may say after an update: counts go down or appear, they never go up.
fn lowered(now: &BTreeMap<Check, u64>, recorded: &BTreeMap<String, u64>) -> BTreeMap<Check, u64> {
    now.iter()
        .map(|(&check, &count)| {
            let first = check.ceiling().map_or(count, |ceiling| count.min(ceiling));
            (check, recorded.get(check.key()).map_or(first, |&old| old.min(count)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(check: Check, count: u64) -> Verdict {
        Verdict { counts: BTreeMap::from([(check, count)]), findings: Vec::new(), lines: 0 }
    }

    #[test]
    fn the_repository_is_tidy() {
        let root = crate::shell::root().expect("the repository");
        assert_eq!(command(&root, false).expect("tidy"), ExitCode::SUCCESS, "see above");
    }

    #[test]
    fn a_ratchet_holds_in_both_directions() {
        let check = Check::FilesOver600Lines;
        assert_eq!(judge(check, &verdict(check, 3), Some(3)), None);
        assert!(judge(check, &verdict(check, 4), Some(3)).is_some_and(|text| text.contains("was 3")));
        assert!(judge(check, &verdict(check, 2), Some(3)).is_some_and(|text| text.contains("--update")));
        assert!(judge(check, &verdict(check, 0), None).is_some_and(|text| text.contains("not yet")));
    }

    #[test]
    fn a_ceiling_is_above_the_file() {
        let check = Check::FunctionsOver100Lines;
        assert!(judge(check, &verdict(check, 1), Some(1)).is_some_and(|text| text.contains("refused")));
    }

    #[test]
    fn an_update_never_raises() {
        let check = Check::FilesOver600Lines;
        let recorded = BTreeMap::from([(check.key().to_owned(), 3)]);
        assert_eq!(lowered(&BTreeMap::from([(check, 5)]), &recorded)[&check], 3);
        assert_eq!(lowered(&BTreeMap::from([(check, 2)]), &recorded)[&check], 2);
    }
}
