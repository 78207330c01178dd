//! Outcomes in files: JSON, packed when the name ends in `.gz`.

use super::present::{Runs, write};
use crate::error::CliError;
use crate::out::clean;
use flate2::Compression;
use flate2::write::GzEncoder;
use pond_sim::outcome::Outcome;
use pond_sim::trace::unpack::unpack;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// What such a file says that it is.
const FORMAT: &str = "millpond-outcomes-1";

#[derive(Serialize, Deserialize)]
struct Stored<T> {
    format: String,
    title: String,
    about: String,
    runs: Vec<T>,
}

#[derive(Serialize)]
struct Writing<'a> {
    label: &'a str,
    outcome: &'a Outcome,
}

#[derive(Deserialize)]
struct Reading {
    label: String,
    outcome: Outcome,
}

/// Writes runs into a file.
///
/// # Errors
/// It cannot be written.
pub fn save(path: &Path, runs: &Runs) -> Result<(), CliError> {
    let stored = Stored {
        format: FORMAT.to_owned(),
        title: runs.title.clone(),
        about: runs.about.clone(),
        runs: runs.runs.iter().map(|(label, outcome)| Writing { label, outcome }).collect(),
    };
    let failed = |why: std::io::Error| CliError::io(format!("writing {}", path.display()), why);
    let text = serde_json::to_vec(&stored).map_err(|why| failed(why.into()))?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut packer = GzEncoder::new(Vec::new(), Compression::new(6));
        packer.write_all(&text).map_err(failed)?;
        return write(path, &packer.finish().map_err(failed)?);
    }
    write(path, &text)
}

/// Reads runs from a file.
///
/// # Errors
/// It is not there, or holds something else.
pub fn load(path: &Path) -> Result<Runs, CliError> {
    let shown = path.display().to_string();
    let bad = |why: &str| CliError::BadFile {
        messages: format!(
            "error: {}: not a file of outcomes: {}\nnext: make one with `pond sched simulate … --save FILE`",
            clean(&shown),
            clean(why)
        ),
    };
    let file = File::open(path).map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound => CliError::Usage {
            what: format!("there is no file `{shown}`"),
            next: Some("make one with `pond sched simulate … --save FILE`".to_owned()),
        },
        _ => CliError::io(format!("reading {shown}"), why),
    })?;
    let mut text = Vec::new();
    unpack(file)
        .and_then(|mut input| input.read_to_end(&mut text))
        .map_err(|why| CliError::io(format!("reading {shown}"), why))?;
    let stored: Stored<Reading> = serde_json::from_slice(&text).map_err(|why| bad(&why.to_string()))?;
    if stored.format != FORMAT {
        return Err(bad(&format!("it says `{}`, and this version reads `{FORMAT}`", stored.format)));
    }
    let runs = stored.runs.into_iter().map(|run| (run.label, run.outcome)).collect();
    Ok(Runs { title: stored.title, about: stored.about, runs })
}
