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
use pond_node::copied::{self, Ground};
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
        (End::Task { job, path }, End::Here("-")) => {
            let job = find(&client, job, Careful::No)?;
            let query = FileQuery { path: path.to_owned(), onto: None };
            let mut stream = client.stream(&task_path(job), &query, &[])?;
            let mut stdout = io::stdout().lock();
            io::copy(&mut stream, &mut stdout)
                .and_then(|_| stdout.flush())
                .map_err(|why| CliError::io("writing the tar stream", why))?;
            ctx.out.note(&format!("{job}:{} written as a tar stream", clean(path)));
        }
        (End::Task { job, path }, End::Here(to)) => {
            let job = find(&client, job, Careful::No)?;
            let got = download(&client, job, path, to)?;
            warn_left_out(ctx, &got.left_out);
            let entries = if got.count == 1 { "entry" } else { "entries" };
            ctx.out.said(&format!("{} {entries} copied to {}", got.count, clean(to)))?;
        }
        (End::Here("-"), End::Task { job, path }) => {
            let job = find(&client, job, Careful::Yes)?;
            let query = FileQuery { path: path.to_owned(), onto: None };
            client.upload(&task_path(job), &query, "application/x-tar", io::stdin())?;
            ctx.out.said(&format!("unpacked into {job}:{}", clean(path)))?;
        }
        (End::Here(from), End::Task { job, path }) => {
            let job = find(&client, job, Careful::Yes)?;
            warn_left_out(ctx, &upload(&client, job, Path::new(from), path)?);
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

fn warn_left_out(ctx: &Ctx, paths: &[String]) {
    for path in paths {
        ctx.out.warn(&format!("{} is neither a file, a folder nor a link; it was left out", clean(path)));
    }
}

fn task_path(job: JobRef) -> String {
    format!("/tasks/{}/files", encode(&job.task().to_string()))
}

/// What came out of a task.
#[derive(Debug, Default)]
struct Copied {
    count: u64,
    left_out: Vec<String>,
}

/// Copies out. Like `cp -r`: into `to` when that is a folder, else to the name `to`; through a link of that name.
fn download(client: &Client, job: JobRef, path: &str, to: &str) -> Result<Copied, CliError> {
    let target = Path::new(to);
    let (folder, name) = if target.is_dir() || to.ends_with('/') {
        (target, Path::new(path).file_name())
    } else {
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let name = target.file_name();
        let name = name.ok_or_else(|| CliError::usage(format!("`{to}` is not a file name")))?;
        (parent.unwrap_or(Path::new(".")), Some(name))
    };
    if !folder.is_dir() {
        return Err(CliError::usage(format!("there is no folder {}", folder.display())));
    }
    let query = FileQuery { path: path.to_owned(), onto: None };
    let mut stream = client.stream(&task_path(job), &query, &[])?;
    unpack(&mut stream, folder, name.map(Path::new))
}

/// Unpacks under `folder`; with `rename`, the first part of every name is replaced by it.
fn unpack(stream: &mut impl Read, folder: &Path, rename: Option<&Path>) -> Result<Copied, CliError> {
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
    let mut copied = Copied::default();
    let mut ground = None;
    // Last, since one that may not be written to would take no files; those inside before those around them.
    let mut folders = Vec::new();
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        copied.left_out.extend(copied::left_out(&mut entry));
        let name = entry.path().map_err(failed)?.into_owned();
        if name.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(escapes(&name));
        }
        let kind = entry.header().entry_type();
        if !(kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_hard_link()) {
            continue;
        }
        let ground = match &ground {
            Some(ground) => ground,
            None => ground.insert(Ground::of(&entry, folder, rename).map_err(failed)?),
        };
        copied.count += 1;
        if kind.is_dir() {
            folders.push((name, entry));
        } else if !ground.land(&mut entry).map_err(failed)? {
            return Err(escapes(&name));
        }
    }
    folders.sort_by(|(a, _), (b, _)| b.cmp(a));
    for (name, mut entry) in folders {
        if let Some(ground) = &ground
            && !ground.land(&mut entry).map_err(failed)?
        {
            return Err(escapes(&name));
        }
    }
    Ok(copied)
}

/// Copies in; returns what was left out. Like `cp -r`: into `path` when that is a folder or ends with `/`, else as `path`.
fn upload(client: &Client, job: JobRef, from: &Path, path: &str) -> Result<Vec<String>, CliError> {
    let missing = |why| CliError::io(format!("reading {}", from.display()), why);
    let led = match from.canonicalize() {
        // A link that leads nowhere is a thing of its own.
        Err(why) if why.kind() == io::ErrorKind::NotFound && from.is_symlink() => from.to_owned(),
        led => led.map_err(missing)?,
    };
    let kind = led.symlink_metadata().map_err(missing)?.file_type();
    if !(kind.is_dir() || kind.is_file() || kind.is_symlink()) {
        return Err(CliError::usage(format!("{} is neither a file nor a folder", from.display())));
    }
    let name = from.file_name().or_else(|| led.file_name());
    let name = name.map_or_else(|| PathBuf::from("."), PathBuf::from);
    let into = matches!(path.rsplit('/').next(), None | Some("" | "." | ".."));
    let path = if path.is_empty() { "." } else { path };
    let query = FileQuery { path: path.to_owned(), onto: (!into).then_some(true) };
    let (read, write) = rustix::pipe::pipe().map_err(|why| CliError::io("making a pipe", why.into()))?;
    let packer = std::thread::spawn(move || pack(&led, &name, File::from(write)));
    let sent = client.upload(&task_path(job), &query, "application/x-tar", File::from(read));
    let packed = packer.join().unwrap_or_else(|_panic| Err(io::Error::other("the packing thread failed")));
    sent?;
    let left_out = packed.map_err(missing)?;
    Ok(left_out.iter().map(|path| path.display().to_string()).collect())
}

fn pack(source: &Path, name: &Path, to: File) -> io::Result<Vec<PathBuf>> {
    let mut builder = tar::Builder::new(io::BufWriter::with_capacity(64 * 1024, to));
    let left_out = copied::pack(&mut builder, source, name)?;
    builder.into_inner()?.flush()?;
    Ok(left_out)
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
    fn a_link_of_ours_is_followed_and_one_of_theirs_is_not() {
        use std::os::unix::fs::symlink;
        use tar::EntryType::{Directory, Regular, Symlink};
        let base = folder("ours");
        let inside = base.join("in");
        std::fs::create_dir(base.join("other")).unwrap();
        std::fs::write(base.join("file"), "old").unwrap();
        symlink("../file", inside.join("f")).unwrap();
        symlink("../other", inside.join("d")).unwrap();
        symlink("../nowhere", inside.join("n")).unwrap();
        let get =
            |entries: &[Entry], name| unpack(&mut &archive(entries)[..], &inside, Some(Path::new(name)));
        get(&[("x", Regular, "new")], "f").unwrap();
        assert!(inside.join("f").is_symlink());
        assert_eq!(std::fs::read_to_string(base.join("file")).unwrap(), "new");
        get(&[("x/", Directory, ""), ("x/g", Regular, "in it")], "d").unwrap();
        assert!(inside.join("d").is_symlink());
        assert_eq!(std::fs::read_to_string(base.join("other/g")).unwrap(), "in it");
        for (entries, name, why) in [
            (&[("x", Regular, "new")], "n", "a link that leads nowhere"),
            (&[("x", Regular, "new")], "d", "is a folder, which a file cannot replace"),
            (&[("x/", Directory, "")], "f", "is a file, which a folder cannot replace"),
        ] {
            let refused = get(entries, name).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
        // Not even beside what was asked for, and no folder is made on the way.
        for way in ["..", "../../other"] {
            assert!(get(&[("x/s", Symlink, way), ("x/s/new/f", Regular, "x")], "b").is_err(), "{way}");
        }
        assert!(!inside.join("new").exists() && !base.join("other/new").exists());
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn files_and_folders_keep_or_change_their_name() {
        use tar::EntryType::{Directory, Regular};
        let base = folder("names");
        let bytes = archive(&[("d/", Directory, ""), ("d/f", Regular, "hello")]);
        assert_eq!(unpack(&mut &bytes[..], &base.join("in"), None).unwrap().count, 2);
        assert_eq!(unpack(&mut &bytes[..], &base.join("in"), Some(Path::new("e"))).unwrap().count, 2);
        assert_eq!(std::fs::read_to_string(base.join("in/d/f")).unwrap(), "hello");
        assert_eq!(std::fs::read_to_string(base.join("in/e/f")).unwrap(), "hello");
        std::fs::remove_dir_all(base).unwrap();
    }
}
