//! `pond cp`: files and folders into and out of a task, as tar streams.
//!
//! What comes out of a task is not trusted: an entry that would land outside the target folder, through `..`,
//! an absolute name or a link, is refused, and device files are never made.

use super::Ctx;
use crate::args::CpArgs;
use crate::client::{Client, encode};
use crate::error::{CliError, Done, codes};
use crate::out::clean;
use crate::refs::{Careful, JobRef, find};
use pond_server::api::types::FileQuery;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

/// One end of a copy.
enum End<'a> {
    Here(&'a str),
    Task { job: &'a str, path: &'a str },
}

/// `JOB:PATH` is in a task; a path with a `/` before its first `:` is here.
fn end(text: &str) -> End<'_> {
    match text.split_once(':') {
        Some((job, path)) if !job.is_empty() && !job.contains('/') && !job.starts_with('.') => {
            End::Task { job, path }
        }
        _ => End::Here(text),
    }
}

/// `pond cp`.
///
/// # Errors
/// No pool, no such job or path, or an entry that would escape.
pub fn cp(ctx: &Ctx, args: &CpArgs) -> Done {
    let client = ctx.client()?;
    match (end(&args.from), end(&args.to)) {
        (End::Task { job, path }, End::Here(to)) => {
            let job = find(&client, job, Careful::No)?;
            let count = download(&client, job, path, to)?;
            ctx.out.said(&format!("{count} entries copied to {}", clean(to)))?;
        }
        (End::Here(from), End::Task { job, path }) => {
            let job = find(&client, job, Careful::Yes)?;
            upload(&client, job, Path::new(from), path)?;
            ctx.out.said(&format!("{} copied to {job}:{}", clean(from), clean(path)))?;
        }
        (End::Here(_), End::Here(_)) => {
            return Err(CliError::Usage {
                what: "one of the two must be in a task".to_owned(),
                next: Some("write JOB:PATH, for example `pond cp @last:/out/model.pt .`".to_owned()),
            });
        }
        (End::Task { .. }, End::Task { .. }) => {
            return Err(CliError::usage("one of the two must be here; copy in two steps"));
        }
    }
    Ok(codes::OK)
}

fn task_path(job: JobRef) -> String {
    format!("/tasks/{}/files", encode(&job.task().to_string()))
}

/// Copies out. Like `cp -r`: into `to` when that is a folder, else to the name `to`. `-` writes the tar stream.
fn download(client: &Client, job: JobRef, path: &str, to: &str) -> Result<u64, CliError> {
    let query = FileQuery { path: path.to_owned() };
    let mut stream = client.stream(&task_path(job), &query, &[])?;
    if to == "-" {
        let mut stdout = io::stdout().lock();
        io::copy(&mut stream, &mut stdout)
            .and_then(|_| stdout.flush())
            .map_err(|why| CliError::io("writing the tar stream", why))?;
        return Ok(1);
    }
    let target = PathBuf::from(to);
    let (folder, rename) = if target.is_dir() {
        (target, None)
    } else {
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.map_or_else(|| PathBuf::from("."), Path::to_owned);
        let name = target.file_name().map(PathBuf::from);
        (folder, Some(name.ok_or_else(|| CliError::usage(format!("`{to}` is not a file name")))?))
    };
    if !folder.is_dir() {
        return Err(CliError::usage(format!("there is no folder {}", folder.display())));
    }
    unpack(&mut stream, &folder, rename.as_deref())
}

/// Unpacks under `folder`; with `rename`, the first part of every name is replaced by it.
fn unpack(stream: &mut impl Read, folder: &Path, rename: Option<&Path>) -> Result<u64, CliError> {
    let failed = |why| CliError::io(format!("unpacking into {}", folder.display()), why);
    let escapes = |name: &Path| CliError::Pool {
        what: format!(
            "the task sent `{}`, which would land outside {}",
            clean(&name.to_string_lossy()),
            folder.display()
        ),
        next: Some("nothing was written for it; do not trust what runs there".to_owned()),
    };
    let mut archive = tar::Archive::new(stream);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(false);
    let mut count = 0;
    // Last, since one that may not be written to would take no files; those inside before those around them.
    let mut folders = Vec::new();
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let name = entry.path().map_err(failed)?.into_owned();
        if name.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(escapes(&name));
        }
        let kind = entry.header().entry_type();
        if !(kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_hard_link()) {
            continue;
        }
        let renamed = rename.map(|first| {
            first.join(
                name.components()
                    .filter(|part| matches!(part, Component::Normal(_)))
                    .skip(1)
                    .collect::<PathBuf>(),
            )
        });
        count += 1;
        if kind.is_dir() {
            folders.push((name, entry, renamed));
        } else if !land(&mut entry, folder, renamed.as_deref()).map_err(failed)? {
            return Err(escapes(&name));
        }
    }
    folders.sort_by(|(a, ..), (b, ..)| b.cmp(a));
    for (name, mut entry, renamed) in folders {
        if !land(&mut entry, folder, renamed.as_deref()).map_err(failed)? {
            return Err(escapes(&name));
        }
    }
    Ok(count)
}

/// Whether it landed in the folder.
fn land<R: Read>(entry: &mut tar::Entry<'_, R>, folder: &Path, renamed: Option<&Path>) -> io::Result<bool> {
    match renamed {
        None => entry.unpack_in(folder),
        Some(renamed) => place(entry, folder, renamed),
    }
}

/// Unpacks one entry under another name, as strictly as [`tar::Entry::unpack_in`] does under its own.
fn place<R: Read>(entry: &mut tar::Entry<'_, R>, folder: &Path, name: &Path) -> io::Result<bool> {
    let target: PathBuf = folder.join(name).components().collect();
    let root = folder.canonicalize()?;
    let parent = target.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent)?;
    if !parent.canonicalize()?.starts_with(&root) {
        return Ok(false);
    }
    // A hard link's target is a name inside the stream; under another name it would point elsewhere.
    if entry.header().entry_type().is_hard_link() {
        return Ok(false);
    }
    if target.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
        std::fs::remove_file(&target)?;
    }
    entry.unpack(&target).map(|_| true)
}

/// Copies in. The folder that `path` is in must be there; `path/` or a folder keeps the name it has here.
fn upload(client: &Client, job: JobRef, from: &Path, path: &str) -> Result<(), CliError> {
    let missing = |why| CliError::io(format!("reading {}", from.display()), why);
    let meta = std::fs::metadata(from).map_err(missing)?;
    let own = from.canonicalize().map_err(missing)?;
    let own = own.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (folder, name) = match path.rsplit_once('/') {
        Some((folder, "")) => (if folder.is_empty() { "/" } else { folder }, own),
        Some((folder, name)) if name != "." => {
            (if folder.is_empty() { "/" } else { folder }, name.to_owned())
        }
        None if !path.is_empty() && path != "." => (".", path.to_owned()),
        _ => (if path.is_empty() { "." } else { path }, own),
    };
    let (read, write) = rustix::pipe::pipe().map_err(|why| CliError::io("making a pipe", why.into()))?;
    let source = from.to_owned();
    let packer = std::thread::spawn(move || pack(&source, meta.is_dir(), &name, File::from(write)));
    let query = FileQuery { path: folder.to_owned() };
    let sent = client.upload(&task_path(job), &query, "application/x-tar", File::from(read));
    let packed = packer.join().unwrap_or_else(|_panic| Err(io::Error::other("the packing thread failed")));
    sent?;
    packed.map_err(missing)
}

fn pack(source: &Path, folder: bool, name: &str, to: File) -> io::Result<()> {
    let mut builder = tar::Builder::new(io::BufWriter::with_capacity(64 * 1024, to));
    builder.follow_symlinks(false);
    if folder {
        builder.append_dir_all(name, source)?;
    } else {
        builder.append_file(name, &mut File::open(source)?)?;
    }
    builder.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, kind, and content or where it leads.
    type Entry = (&'static str, tar::EntryType, &'static str);

    fn archive(entries: &[Entry]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let link = matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link);
            header.set_size(if link { 0 } else { content.len() as u64 });
            if link {
                header.set_link_name(content).unwrap();
            }
            // `set_path` refuses `..`; a hostile peer does not ask it.
            let bytes = &mut header.as_old_mut().name;
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, if link { &[][..] } else { content.as_bytes() }).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("pond-cp-{}-{name}", std::process::id()));
        std::fs::create_dir_all(path.join("in")).unwrap();
        path
    }

    #[test]
    fn nothing_lands_outside_the_folder() {
        use tar::EntryType::{Regular, Symlink};
        let hostile: [&[Entry]; 4] = [
            &[("../out", Regular, "x")],
            &[("/tmp/pond-cp-abs", Regular, "x")],
            &[("a/../../out", Regular, "x")],
            &[("a", Symlink, ".."), ("a/out", Regular, "x")],
        ];
        for rename in [None, Some(Path::new("b"))] {
            for (number, entries) in hostile.iter().enumerate() {
                let base = folder(&format!("hostile{number}{}", rename.is_some()));
                let bytes = archive(entries);
                assert!(unpack(&mut &bytes[..], &base.join("in"), rename).is_err(), "{entries:?}");
                assert!(!base.join("out").exists(), "{entries:?}");
                std::fs::remove_dir_all(base).unwrap();
            }
        }
        assert!(!Path::new("/tmp/pond-cp-abs").exists());
    }

    /// Every file below a folder that is neither a folder nor a symbolic link, which are not followed.
    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => found.extend(files(&entry.path())),
                kind if kind.is_symlink() => (),
                _ => found.push(entry.path()),
            }
        }
        found
    }

    #[test]
    fn links_and_devices_reach_nothing_outside_the_folder() {
        use std::os::unix::fs::MetadataExt;
        use tar::EntryType::{Block, Char, Fifo, Link, Regular, Symlink};
        // Whether the copy is refused, or goes on without the entry.
        let hostile: [(&[Entry], bool); 8] = [
            (&[("d/l", Link, "/etc/passwd")], true),
            (&[("d/l", Link, "../outside")], true),
            (&[("d/s", Symlink, "../.."), ("d/l", Link, "d/s/outside")], true),
            (&[("d/s", Symlink, "../../outside"), ("d/l", Link, "d/s")], true),
            // Written over the link, not through it.
            (&[("d/s", Symlink, "../../outside"), ("d/s", Regular, "changed")], false),
            (&[("d/null", Char, "")], false),
            (&[("d/disk", Block, "")], false),
            (&[("d/pipe", Fifo, "")], false),
        ];
        for rename in [None, Some(Path::new("b"))] {
            for (number, (entries, refused)) in hostile.iter().enumerate() {
                let base = folder(&format!("link{number}{}", rename.is_some()));
                std::fs::write(base.join("outside"), "as it was").unwrap();
                let bytes = archive(entries);
                let done = unpack(&mut &bytes[..], &base.join("in"), rename);
                assert_eq!(done.is_err(), *refused, "{entries:?}: {done:?}");
                assert_eq!(
                    std::fs::read_to_string(base.join("outside")).unwrap(),
                    "as it was",
                    "{entries:?}"
                );
                assert_eq!(std::fs::metadata(base.join("outside")).unwrap().nlink(), 1, "{entries:?}");
                for file in files(&base.join("in")) {
                    let meta = file.symlink_metadata().unwrap();
                    assert!(meta.is_file() && meta.nlink() == 1, "{entries:?}: {}", file.display());
                }
                std::fs::remove_dir_all(base).unwrap();
            }
        }
    }

    #[test]
    fn files_and_folders_keep_or_change_their_name() {
        use tar::EntryType::{Directory, Regular};
        let base = folder("names");
        let bytes = archive(&[("d/", Directory, ""), ("d/f", Regular, "hello")]);
        assert_eq!(unpack(&mut &bytes[..], &base.join("in"), None).unwrap(), 2);
        assert_eq!(unpack(&mut &bytes[..], &base.join("in"), Some(Path::new("e"))).unwrap(), 2);
        assert_eq!(std::fs::read_to_string(base.join("in/d/f")).unwrap(), "hello");
        assert_eq!(std::fs::read_to_string(base.join("in/e/f")).unwrap(), "hello");
        std::fs::remove_dir_all(base).unwrap();
    }
}
