//! What a finished job left in its writable layer, when that layer is on this machine.

use crate::args::Globals;
use crate::client::{Client, encode};
use crate::refs::JobRef;
use pond_server::api::types::{FileQuery, JobDetail};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long is looked: a hint must not make anybody wait.
const PATIENCE: Duration = Duration::from_millis(300);
/// How many files are named.
const NAMED: usize = 20;
/// A file larger than this ends the look: reading over it takes too long.
const LARGE: u64 = 64 << 20;

/// Files below the working folder of the job's first task that this machine has not: the first few, and how many
/// more there are at least. Nothing for jobs of other images and for pools elsewhere.
#[must_use]
pub fn left_files(globals: &Globals, client: &Client, detail: &JobDetail) -> (Vec<PathBuf>, usize) {
    let text = |path: &str| detail.spec.pointer(path).and_then(serde_json::Value::as_str);
    let host = text("/run/image") == Some("host") && text("/run/isolation") == Some("container");
    let (Some(workdir), true, None) = (text("/run/workdir"), host, &globals.server) else {
        return (Vec::new(), 0);
    };
    let job = JobRef::job(detail.summary.id);
    let path = format!("/tasks/{}/files", encode(&job.task().to_string()));
    let since = detail.summary.started_ms.unwrap_or(u64::MAX) / 1000;
    let query = FileQuery { path: workdir.to_owned(), onto: None };
    // Files that cannot be read are not worth a word here.
    client
        .stream(&path, &query, &[])
        .map(|stream| new_files(stream, Path::new(workdir), since))
        .unwrap_or_default()
}

fn new_files(stream: impl std::io::Read, workdir: &Path, since_s: u64) -> (Vec<PathBuf>, usize) {
    let (mut files, mut more) = (Vec::new(), 0);
    let began = Instant::now();
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().into_iter().flatten().map_while(Result::ok) {
        let header = entry.header();
        // The stream's names begin with the folder's own.
        let name: Option<PathBuf> = entry.path().ok().map(|name| name.components().skip(1).collect());
        if let Some(name) = name.filter(|name| !name.as_os_str().is_empty())
            && header.entry_type().is_file()
            && header.mtime().is_ok_and(|mtime| mtime >= since_s)
            && workdir.join(&name).symlink_metadata().is_err()
        {
            if files.len() < NAMED { files.push(workdir.join(name)) } else { more += 1 }
        }
        if began.elapsed() > PATIENCE || header.size().unwrap_or(u64::MAX) > LARGE {
            break;
        }
    }
    (files, more)
}
