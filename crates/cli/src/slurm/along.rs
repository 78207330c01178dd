//! What comes along from where a script of Slurm's is submitted: the folder, the user, the search paths.
//!
//! Scripts of Slurm's live on filesystems that all nodes share, run as who submitted them, and find the programs of
//! the shell they came from. Why so much and no more: `docs/decisions/0120-slurm-scripts-run-on-every-node.md`.

use crate::client::Client;
use crate::error::CliError;
use crate::out::clean;
use crate::pool::state_dir;
use crate::verbs::Ctx;
use pond_core::model::{Image, Isolation, RunSpec, Volume};
use pond_spec::Draft;
use std::path::{Component, Path};
use std::sync::Arc;

/// Search paths and names. Others can hold secrets, and whoever may see a job sees its variables.
const VARIABLES: [&str; 16] = [
    "CONDA_DEFAULT_ENV",
    "CONDA_EXE",
    "CONDA_PREFIX",
    "CONDA_PYTHON_EXE",
    "CONDA_SHLVL",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "MODULEPATH",
    "PATH",
    "PYTHONPATH",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
];

/// Lays it over a job that is submitted from this process's folder.
///
/// # Errors
/// This folder is not to be found.
pub fn take(ctx: &Ctx, client: &Client, draft: &mut Draft) -> Result<(), CliError> {
    let here = std::env::current_dir().map_err(|why| CliError::io("finding this folder", why))?;
    let run = Arc::make_mut(&mut draft.spec.run);
    let folder = here.to_string_lossy().into_owned();
    let mut set = |name: &str, value: String| {
        run.env.entry(name.to_owned()).or_insert(value);
    };
    set("SLURM_SUBMIT_DIR", folder.clone());
    set("SLURM_SUBMIT_HOST", rustix::system::uname().nodename().to_string_lossy().into_owned());
    if !client.is_here() {
        return Ok(());
    }
    if run.image == Image::Host && !run.env.contains_key("SBATCH_EXPORT") {
        for name in VARIABLES {
            if let Ok(value) = std::env::var(name) {
                run.env.entry(name.to_owned()).or_insert(value);
            }
        }
    }
    if run.isolation != Isolation::Container {
        return Ok(());
    }
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    if run.user.is_none() && !uid.is_root() {
        run.user = Some((uid.as_raw(), gid.as_raw()));
    }
    let home = std::env::var("HOME").ok();
    match kept_back(&here, home.as_deref().map(Path::new), &state_dir(&ctx.globals)) {
        Some(why) => ctx.out.note(&format!(
            "what the job writes stays in its own layer, not here: {} {why}; submit from a folder of its own, or name one with `#POND --volume`",
            clean(&folder)
        )),
        None => share(run, &here, folder),
    }
    Ok(())
}

fn share(run: &mut RunSpec, here: &Path, folder: String) {
    if run.volumes.iter().any(|volume| here.starts_with(&volume.target)) {
        return;
    }
    run.workdir.get_or_insert_with(|| folder.clone());
    run.volumes.push(Volume { source: folder.clone(), target: folder, read_only: false });
}

/// Why a folder is not handed to a job just because it was submitted from there: with it would go what tasks are
/// not to see (`docs/decisions/0040-host-root.md`).
fn kept_back(here: &Path, home: Option<&Path>, state: &Path) -> Option<&'static str> {
    const SYSTEM: [&str; 18] = [
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/lib",
        "/lib64",
        "/proc",
        "/run",
        "/sbin",
        "/sys",
        "/usr",
        "/var/lib/containerd",
        "/var/lib/containers",
        "/var/lib/docker",
        "/var/lib/kubelet",
        "/var/lib/private",
        "/var/log",
        "/var/spool",
    ];
    if here.components().filter(|part| matches!(part, Component::Normal(_))).count() < 2
        || SYSTEM.iter().any(|system| here.starts_with(system))
    {
        return Some("is the system's");
    }
    let hidden = |home: &Path| {
        let below = here.strip_prefix(home).ok().and_then(|rest| rest.components().next());
        below.is_some_and(|part| part.as_os_str().to_string_lossy().starts_with('.'))
    };
    // `here` is a path without links, and homes are often links to where a filesystem is mounted.
    let links = std::fs::read_dir("/home").into_iter().flatten().flatten().map(|entry| entry.path());
    let above = here.ancestors().filter(|dir| dir.parent() == Some(Path::new("/home")));
    let homes = [Path::new("/root")].into_iter().chain(home).chain(above).map(Path::to_owned).chain(links);
    for home in homes.map(|home| home.canonicalize().unwrap_or(home)) {
        if home.starts_with(here) {
            return Some("holds a home folder, with its keys");
        }
        if hidden(&home) {
            return Some("is hidden from tasks");
        }
    }
    let state = state.canonicalize().unwrap_or_else(|_| state.to_owned());
    (state.starts_with(here) || here.starts_with(&state)).then_some("holds the pool's own files")
}

#[cfg(test)]
mod tests {
    use super::kept_back;
    use std::path::Path;

    #[test]
    fn folders_with_keys_stay_here() {
        let why =
            |here: &str| kept_back(Path::new(here), Some(Path::new("/home/ada")), Path::new("/var/lib/pond"));
        for here in [
            "/",
            "/data",
            "/home",
            "/home/ada",
            "/home/bob",
            "/home/ada/.ssh",
            "/home/bob/.aws/x",
            "/etc/ssh",
            "/usr/bin",
            "/var/log/app",
        ] {
            assert!(why(here).is_some(), "{here}");
        }
        for here in ["/var/lib", "/var/lib/pond", "/var/lib/pond/tasks"] {
            assert_eq!(why(here), Some("holds the pool's own files"), "{here}");
        }
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().canonicalize().unwrap().join("ada"), folder.path().join("link"));
        std::fs::create_dir_all(real.join("paper")).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let linked = |here: &Path| kept_back(here, Some(&link), Path::new("/var/lib/pond"));
        assert_eq!(linked(&real), Some("holds a home folder, with its keys"), "a home that is a link");
        assert_eq!(linked(&real.join("paper")), None);
        for here in ["/home/ada/paper", "/data/ada", "/tmp/x", "/home/ada/paper/.cache"] {
            assert_eq!(why(here), None, "{here}");
        }
    }
}
