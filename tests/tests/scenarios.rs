//! Every page of `tests/scenarios/`, and every page of the documentation that shows commands.

use pond_e2e::transcript::root;
use std::collections::BTreeSet;

macro_rules! pages {
    ($($name:ident => $path:literal,)*) => {
        $(
            #[test]
            fn $name() {
                pond_e2e::transcript::run(&root().join($path));
            }
        )*

        const LISTED: &[&str] = &[$($path),*];
    };
}

pages! {
    arrays => "tests/scenarios/arrays.md",
    bad_files => "tests/scenarios/bad-files.md",
    clock => "tests/scenarios/clock.md",
    crash => "tests/scenarios/crash.md",
    dashboard => "docs/dashboard.md",
    devices => "tests/scenarios/devices.md",
    elastic => "tests/scenarios/elastic.md",
    ends => "tests/scenarios/ends.md",
    envs => "tests/scenarios/envs.md",
    estimates => "tests/scenarios/estimates.md",
    exec => "tests/scenarios/exec.md",
    files => "tests/scenarios/files.md",
    full_disk => "tests/scenarios/full-disk.md",
    gangs => "tests/scenarios/gangs.md",
    getting_started => "docs/getting-started.md",
    images => "tests/scenarios/images.md",
    infeasible => "tests/scenarios/infeasible.md",
    lifecycle => "tests/scenarios/lifecycle.md",
    limits => "tests/scenarios/limits.md",
    mcp => "docs/mcp.md",
    money => "tests/scenarios/money.md",
    newcomer => "tests/scenarios/newcomer.md",
    notifications => "docs/notifications.md",
    operations => "tests/scenarios/operations.md",
    operations_guide => "docs/operations.md",
    people => "docs/people.md",
    plain_user => "tests/scenarios/plain-user.md",
    plain_user_mounts => "tests/scenarios/plain-user-mounts.md",
    policy => "tests/scenarios/policy.md",
    ports => "tests/scenarios/ports.md",
    output => "tests/scenarios/output.md",
    preemption => "tests/scenarios/preemption.md",
    queues => "docs/queues.md",
    readme => "README.md",
    secrets => "tests/scenarios/secrets.md",
    security => "docs/security.md",
    simulate => "docs/simulate.md",
    shares => "tests/scenarios/shares.md",
    slurm => "tests/scenarios/slurm.md",
    slurm_guide => "docs/slurm.md",
    spare => "tests/scenarios/spare.md",
    torchrun => "tests/scenarios/torchrun.md",
    traces => "tests/scenarios/traces.md",
    user_groups => "tests/scenarios/user-groups.md",
}

/// A page with a `console` fence that is not listed above would never be run.
#[test]
fn every_page_that_shows_commands_is_run() {
    let mut shown = BTreeSet::new();
    let mut folders = vec![root().join("tests/scenarios"), root().join("docs")];
    let mut pages = vec![root().join("README.md")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of pages").flatten() {
            let list = if entry.path().is_dir() { &mut folders } else { &mut pages };
            list.push(entry.path());
        }
    }
    for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(page).expect("a page");
        if text.lines().any(|line| line.trim() == "```console") {
            let path = page.strip_prefix(root()).expect("below the root");
            shown.insert(path.to_string_lossy().into_owned());
        }
    }
    let listed: BTreeSet<String> = LISTED.iter().map(|&path| path.to_owned()).collect();
    assert_eq!(shown, listed);
}
