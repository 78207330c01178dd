//! What a script of Slurm's finds in its task: stand-ins for the commands that such scripts call, as small scripts of
//! the plain shell. They need nothing of the pool and no right that the task has not; why they are as they are is in
//! `docs/decisions/0120-slurm-scripts-run-on-every-node.md`.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// The variable that tells where they are.
pub(crate) const VARIABLE: &str = "POND_SLURM";
/// Their folder, in that of a task's scripts.
pub(crate) const FOLDER: &str = "slurm";

const FILES: [(&str, &str); 6] = [
    (".start", include_str!("start.sh")),
    (".batch", include_str!("batch.sh")),
    (".path", include_str!("path.sh")),
    (".absent", include_str!("absent.sh")),
    ("srun", include_str!("srun.sh")),
    ("scontrol", include_str!("scontrol.sh")),
];
/// Commands that say in one line why they are not there, and what to do instead.
const ABSENT: [&str; 9] =
    ["sbatch", "salloc", "scancel", "squeue", "sinfo", "sacct", "sstat", "seff", "sbcast"];

/// Writes them into `dir`, which is made.
///
/// # Errors
/// It cannot be written.
pub fn write(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    // Whoever the command runs as: whatever the server's mask is.
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    open(dir)?;
    for (name, text) in FILES {
        fs::write(dir.join(name), text)?;
        open(&dir.join(name))?;
    }
    ABSENT.iter().try_for_each(|name| symlink(".absent", dir.join(name)))
}
