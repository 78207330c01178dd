//! `pond lint`, `pond schema`, `pond import`: job files without a pool.

use super::Ctx;
use crate::args::LintArgs;
use crate::error::{CliError, Done, codes};
use crate::jobs::{bad_file, text_of};
use crate::out::clean;
use pond_spec::{Format, Report, lint as look, read, schema::schema as json_schema};

/// `pond lint`.
///
/// # Errors
/// A file is wrong.
pub fn lint(ctx: &Ctx, args: &LintArgs) -> Done {
    let mut all = Report::default();
    let mut unreadable = Vec::new();
    for path in &args.files {
        match text_of(path) {
            Ok((text, name)) => {
                let report = look(&text, &name, Format::of(&name, &text));
                if report.errors.is_empty() && !ctx.out.format.is_data() {
                    ctx.out.line(&format!("{}: ok", clean(&name)))?;
                }
                all.errors.extend(report.errors);
                all.warnings.extend(report.warnings);
            }
            Err(CliError::BadFile { messages }) => unreadable.push(messages),
            Err(why) => return Err(why),
        }
    }
    if ctx.out.format.is_data() {
        ctx.out.value(&all)?;
        let bad = !unreadable.is_empty() || !all.errors.is_empty();
        if !unreadable.is_empty() {
            return Err(CliError::BadFile { messages: unreadable.join("\n") });
        }
        return Ok(if bad { codes::BAD_FILE } else { codes::OK });
    }
    for warning in &all.warnings {
        ctx.out.warn(&clean(&warning.to_string()));
    }
    unreadable.extend(all.errors.iter().map(pond_spec::SpecError::report));
    if unreadable.is_empty() {
        Ok(codes::OK)
    } else {
        Err(CliError::BadFile { messages: unreadable.join("\n") })
    }
}

/// `pond schema`.
///
/// # Errors
/// Nobody reads.
pub fn schema(ctx: &Ctx) -> Done {
    ctx.out.value(&json_schema())?;
    Ok(codes::OK)
}

/// `pond import`: batch scripts as job files, to standard output.
///
/// # Errors
/// A script is wrong.
pub fn import(ctx: &Ctx, args: &LintArgs) -> Done {
    for (place, path) in args.files.iter().enumerate() {
        let (text, name) = text_of(path)?;
        let reading = read(&text, &name, Format::Script).map_err(|why| bad_file(&why))?;
        for warning in &reading.warnings {
            ctx.out.warn(&clean(&warning.to_string()));
        }
        for job in &reading.jobs {
            if ctx.out.format == crate::args::Format::Json {
                ctx.out.value(job)?;
                continue;
            }
            let yaml = serde_saphyr::to_string(job).map_err(|why| CliError::BadAnswer {
                request: "this job".to_owned(),
                why: why.to_string(),
            })?;
            ctx.out.text(&format!("{}{yaml}", if place > 0 { "---\n" } else { "" }))?;
        }
    }
    Ok(codes::OK)
}
