//! What of the machine itself jobs of a queue may be given. The engine carries it and never looks inside.
//!
//! Who submits says what a job wants; who runs the pool says here how much of that is open. It binds everybody but
//! administrators of the pool.

use super::{Image, Isolation, RunSpec};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The least user and group id under which a bound job writes to folders of the machine: those below are the machine's own.
pub const LEAST_WRITER: u32 = 1000;

/// A folder of the machine with all that is below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFolder {
    /// Its absolute path.
    pub path: String,
    /// Whether jobs may change what is in it.
    #[serde(default)]
    pub write: bool,
}

/// What is open; by default nothing is. As text: `none`, or words with commas between them, `root`, `process`, folders,
/// those that may be changed with `:rw`: `root,/data,/scratch:rw`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostAccess {
    /// The machine's own root as the root of containers: `image: host`.
    pub root: bool,
    /// Processes outside of a container, with the rights of who runs the pool: `isolation: process`.
    pub process: bool,
    /// What volumes, copied files, standard input and image layouts may be taken from.
    pub folders: Vec<HostFolder>,
}

/// Something that a job wants and that is not open: the field, and what it is in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOpen {
    /// The field of the job file.
    pub field: &'static str,
    /// What it is.
    pub what: String,
    /// What would open it: a word of [`HostAccess`]; none when no setting does, and the job has to change.
    pub opens: Option<String>,
}

impl HostFolder {
    /// Whether this absolute path is the folder or lies in it. Links are not looked at.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        let own = self.path.trim_end_matches('/');
        path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Whether a path says by itself where it leads, links aside: absolute, and no `..`.
fn is_plain(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0') && path.split('/').all(|part| part != "..")
}

impl HostAccess {
    /// Whether its folders can be folders: absolute paths without `..`.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), String> {
        match self.folders.iter().find(|folder| !is_plain(&folder.path)) {
            Some(bad) => Err(format!("`{}` is not an absolute path without `..`", bad.path)),
            None => Ok(()),
        }
    }

    /// The first thing that such a task would be given of the machine and that is not open. Links are looked at when the
    /// task starts.
    ///
    /// # Errors
    /// What is not open.
    pub fn allows(&self, run: &RunSpec) -> Result<(), NotOpen> {
        let not_open = |field, what: &str, opens: Option<&str>| NotOpen {
            field,
            what: what.to_owned(),
            opens: opens.map(str::to_owned),
        };
        match (run.isolation, &run.image) {
            (Isolation::Process, _) if !self.process => {
                return Err(not_open("isolation", "processes outside of a container", Some("process")));
            }
            (Isolation::Container, Image::Host) if !self.root => {
                return Err(not_open("image", "the machine's own root", Some("root")));
            }
            _ => {}
        }
        if let Image::Layout(path) = &run.image {
            // `path:tag`, unless that is itself open.
            let layout = match path.rsplit_once(':') {
                Some((layout, tag)) if !tag.contains('/') && self.reads("image", path).is_err() => layout,
                _ => path,
            };
            self.reads("image", layout)?;
        }
        for path in &run.files {
            self.reads("files", path)?;
        }
        if let Some(path) = &run.stdin {
            self.reads("stdin", path)?;
        }
        for volume in &run.volumes {
            if volume.read_only {
                self.reads("volumes", &volume.source)?;
                continue;
            }
            // What root or a group of the machine's writes may be set to run as these, and is not only seen by tasks.
            let writer = |id: u32| (LEAST_WRITER..u32::MAX).contains(&id);
            if !run.user.is_some_and(|(uid, gid)| writer(uid) && writer(gid)) {
                let what = format!("writing to `{}` as a user or group of the machine's own", volume.source);
                return Err(not_open("volumes", &what, None));
            }
            if !self.writes(&volume.source) {
                let what = format!("writing to `{}`", volume.source);
                return Err(not_open("volumes", &what, Some(&format!("{}:rw", volume.source))));
            }
        }
        Ok(())
    }

    fn reads(&self, field: &'static str, path: &str) -> Result<(), NotOpen> {
        if is_plain(path) && self.folders.iter().any(|folder| folder.covers(path)) {
            return Ok(());
        }
        let opens = Some(path.to_owned()).filter(|path| is_plain(path));
        Err(NotOpen { field, what: format!("`{path}` of the machine"), opens })
    }

    fn writes(&self, path: &str) -> bool {
        is_plain(path) && self.folders.iter().any(|folder| folder.write && folder.covers(path))
    }
}

impl FromStr for HostAccess {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut access = Self::default();
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        for word in words {
            match word {
                "none" => {}
                "root" => access.root = true,
                "process" => access.process = true,
                _ if word.starts_with('/') => {
                    let (path, write) = match word.rsplit_once(':') {
                        Some((path, "rw")) => (path, true),
                        Some((path, "ro")) => (path, false),
                        _ => (word, false),
                    };
                    access.folders.push(HostFolder { path: path.to_owned(), write });
                }
                _ => {
                    return Err(format!(
                        "`{word}` is nothing of the machine: write `none`, `root`, `process` or an absolute path, with `:rw` \
                         behind it when jobs may change what is there"
                    ));
                }
            }
        }
        access.check().map(|()| access)
    }
}

impl fmt::Display for HostAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [("root", self.root), ("process", self.process)];
        let words = words.iter().filter(|(_, open)| *open).map(|(word, _)| (*word).to_owned());
        let folders = self.folders.iter().map(|it| it.path.clone() + if it.write { ":rw" } else { "" });
        let all: Vec<String> = words.chain(folders).collect();
        f.write_str(if all.is_empty() { "none".to_owned() } else { all.join(",") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Volume;

    fn access(text: &str) -> HostAccess {
        text.parse().unwrap()
    }

    /// The field that is not open, and the word that opens it.
    fn refused(text: &str, run: &RunSpec) -> Option<(&'static str, Option<String>)> {
        access(text).allows(run).err().map(|it| (it.field, it.opens))
    }

    fn with_image() -> RunSpec {
        RunSpec { image: Image::Registry("debian".to_owned()), ..RunSpec::argv(&["true"]) }
    }

    #[test]
    fn text_and_back() {
        for text in ["none", "root", "process", "root,process,/data,/scratch:rw"] {
            assert_eq!(access(text).to_string(), text);
        }
        assert_eq!(access(" root , /data:ro,/ "), access("root,/data,/"));
        for bad in ["data", "/a/../b", "rooted", "/a,..", "host"] {
            assert!(bad.parse::<HostAccess>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_is_open_unless_it_is_said() {
        let host = RunSpec::argv(&["true"]);
        assert_eq!(refused("none", &host), Some(("image", Some("root".into()))));
        assert_eq!(refused("root", &host), None);
        assert_eq!(refused("none", &with_image()), None);
        let process = RunSpec { isolation: Isolation::Process, ..RunSpec::argv(&["true"]) };
        assert_eq!(refused("root,/", &process), Some(("isolation", Some("process".into()))));
        assert_eq!(refused("process", &process), None);
    }

    #[test]
    fn a_folder_is_open_with_all_below_and_nothing_beside() {
        let reads = |path: &str| RunSpec { files: vec![path.to_owned()], ..with_image() };
        for open in ["/data", "/data/", "/data/a/b"] {
            assert_eq!(refused("/data", &reads(open)), None, "{open}");
        }
        for shut in ["/", "/database", "/data/../etc", "data/x", "/etc/data"] {
            assert!(refused("/data", &reads(shut)).is_some(), "{shut}");
        }
        assert_eq!(refused("/", &reads("/etc/fstab")), None);
        let stdin = RunSpec { stdin: Some("/etc/shadow".to_owned()), ..with_image() };
        assert_eq!(refused("/data", &stdin), Some(("stdin", Some("/etc/shadow".into()))));
        let layout = RunSpec { image: Image::Layout("/images/a.tar".to_owned()), ..RunSpec::argv(&[]) };
        assert_eq!(refused("root", &layout), Some(("image", Some("/images/a.tar".into()))));
        assert_eq!(refused("/images", &layout), None);
        let tagged = RunSpec { image: Image::Layout("/images/a.tar:v1".to_owned()), ..RunSpec::argv(&[]) };
        assert_eq!(refused("root", &tagged), Some(("image", Some("/images/a.tar".into()))));
        for open in ["/images", "/images/a.tar", "/images/a.tar:v1"] {
            assert_eq!(refused(open, &tagged), None, "{open}");
        }
    }

    #[test]
    fn what_is_written_to_is_open_for_it_and_not_for_root() {
        let volume = |read_only, user| RunSpec {
            volumes: vec![Volume { source: "/scratch/a".into(), target: "/a".into(), read_only }],
            user,
            ..with_image()
        };
        assert_eq!(refused("/scratch", &volume(true, None)), None);
        assert_eq!(
            refused("/scratch", &volume(false, Some((1000, 1000)))),
            Some(("volumes", Some("/scratch/a:rw".into())))
        );
        assert_eq!(refused("/scratch:rw", &volume(false, Some((1000, 1000)))), None);
        assert!(
            refused(
                "/scratch:rw",
                &RunSpec {
                    volumes: vec![Volume {
                        source: "/scratch/../etc".into(),
                        target: "/a".into(),
                        read_only: false
                    }],
                    ..volume(false, Some((1000, 1000)))
                }
            )
            .is_some()
        );
        for own in
            [None, Some((0, 0)), Some((0, 1000)), Some((1000, 0)), Some((999, 1000)), Some((1000, u32::MAX))]
        {
            assert_eq!(refused("/scratch:rw", &volume(false, own)), Some(("volumes", None)), "{own:?}");
        }
    }
}
