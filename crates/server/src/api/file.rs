//! Job files as they come over the wire, into the one job they hold.

use super::extract::short;
use super::types::{Problem, SCRIPT, SPEC, SubmitQuery, TOML, YAML};
use axum::http::StatusCode;
use pond_core::model::{Dependency, JobSpec};
use pond_spec::{Context, Draft, Format, JobRef, SpecError};

/// Reads a body into a job and what cannot be honoured of it.
///
/// # Errors
/// What is wrong with it: place, cause, next step.
pub fn read(
    content_type: &str,
    bytes: &[u8],
    query: &SubmitQuery,
) -> Result<(JobSpec, Vec<String>), Problem> {
    let format = match content_type {
        SPEC => {
            let spec: JobSpec =
                serde_json::from_slice(bytes).map_err(|why| super::extract::bad_json(&why))?;
            check_name(&spec.name)?;
            return Ok((spec, Vec::new()));
        }
        "application/json" => Format::Json,
        YAML | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Format::Yaml,
        TOML | "text/toml" => Format::Toml,
        SCRIPT | "application/x-sh" => Format::Script,
        other => {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "bad_content_type",
                format!("`{}` is not a kind of job file", short(other)),
            )
            .with_next(format!("send application/json, {YAML}, {TOML}, {SCRIPT} or {SPEC}")));
        }
    };
    let text = std::str::from_utf8(bytes).map_err(|_why| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_file", "the job file is not UTF-8")
    })?;
    let origin = query.file.as_deref().unwrap_or("job file");
    let (file, warnings) = pond_spec::read_one(text, origin, format).map_err(|why| bad_file(&why))?;
    // Only an administrator's path means something here; the engine's user is set by the token.
    let context = Context::new("", query.dir.as_deref().unwrap_or("/"));
    let draft = file.into_spec(&context).map_err(|why| bad_file(&why))?;
    let warnings = warnings.iter().map(ToString::to_string).collect();
    finish(draft).map(|spec| (spec, warnings))
}

/// Names of job files are strict already. Those of complete specs may be words of any language, and what they look like.
fn check_name(name: &str) -> Result<(), Problem> {
    let hides = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    if name.len() <= 1000 && !name.contains(hides) {
        return Ok(());
    }
    let message = "a name has at most 1,000 bytes, and no characters that control, hide or reorder text";
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_job", message).at("name"))
}

/// Jobs to wait for, by id.
fn finish(draft: Draft) -> Result<JobSpec, Problem> {
    let mut spec = draft.spec;
    for awaited in draft.after {
        let JobRef::Id(job) = awaited.job else {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad_file",
                "`after` names a job that is not in this file",
            )
            .at("after")
            .with_next(
                "write the number of a job of the pool, or use `pond apply` with a file that holds both",
            ));
        };
        spec.after.push(Dependency { job, success: awaited.success });
    }
    Ok(spec)
}

fn bad_file(why: &SpecError) -> Problem {
    let place = match (&why.place, why.field.as_str()) {
        (Some(place), "") => place.to_string(),
        (Some(place), field) => format!("{place} ({field})"),
        (None, field) => field.to_owned(),
    };
    let message = match why.fault.to_string() {
        text if text.is_empty() => "the job file cannot be read".to_owned(),
        text => text,
    };
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_file", message).with_next(why.next());
    if place.is_empty() { problem } else { problem.at(place) }
}
