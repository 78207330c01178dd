//! `pond open`, `pond completion`, `pond man`, and the names completion scripts ask for.

use super::Ctx;
use super::list::jobs;
use crate::args::{Cli, CompletionArgs};
use crate::error::{CliError, Done, codes};
use crate::out::clean;
use crate::refs::{Careful, find};
use clap::CommandFactory as _;
use clap_complete::Shell;
use pond_server::api::types::{JobQuery, LoginLink};
use std::collections::BTreeSet;
use std::path::Path;

/// Verbs that take the name of a job.
const TAKES_JOBS: &str = "status logs open exec attach forward cp why events wait pause resume stop rm retry";

/// `pond completion SHELL`.
///
/// # Errors
/// Nobody reads.
pub fn completion(ctx: &Ctx, args: CompletionArgs) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pond", &mut script);
    ctx.out.bytes(&script)?;
    let verbs = TAKES_JOBS;
    match args.shell {
        Shell::Bash => ctx.out.text(&bash(verbs))?,
        Shell::Fish => ctx.out.text(&format!(
            "complete -c pond -n '__fish_seen_subcommand_from {verbs}' -f -a '(pond __names 2>/dev/null)'\n"
        ))?,
        Shell::Zsh => ctx.out.text(&zsh(verbs))?,
        _ => {}
    }
    Ok(codes::OK)
}

/// Names of jobs on top of what clap's script offers.
fn bash(verbs: &str) -> String {
    format!(
        "\n_pond_jobs() {{\n    _pond \"$@\"\n    case \" {verbs} \" in\n        *\" ${{COMP_WORDS[1]}} \"*)\n            case \"${{COMP_WORDS[COMP_CWORD]}}\" in\n                -*) ;;\n                *) COMPREPLY+=( $(compgen -W \"$(pond __names 2>/dev/null)\" -- \"${{COMP_WORDS[COMP_CWORD]}}\") ) ;;\n            esac ;;\n    esac\n}}\ncomplete -F _pond_jobs -o nosort -o bashdefault -o default pond\n"
    )
}

fn zsh(verbs: &str) -> String {
    format!(
        "\n_pond_jobs() {{\n    local -a names\n    if [[ \" {verbs} \" == *\" ${{words[2]}} \"* && ${{words[CURRENT]}} != -* ]]; then\n        names=(${{(f)\"$(pond __names 2>/dev/null)\"}})\n        compadd -a names\n    fi\n    _pond \"$@\"\n}}\ncompdef _pond_jobs pond\n"
    )
}

/// `pond open [JOB]`: a link that logs in to the web page, for whoever holds the token; it works once.
///
/// # Errors
/// No pool, or no such job.
pub fn open(ctx: &Ctx, job: Option<&str>) -> Done {
    let client = ctx.client()?;
    let next = match job {
        Some(name) => format!("&next=/jobs/{}", find(&client, name, Careful::No)?.job),
        None => String::new(),
    };
    let link: LoginLink = client.post("/login-links", &serde_json::json!({}))?;
    let url = format!("{}{}{next}", client.base(), link.path);
    if ctx.out.format.is_data() {
        ctx.out.value(&serde_json::json!({ "url": url, "valid_ms": link.valid_ms }))?;
    } else {
        ctx.out.line(&url)?;
        ctx.out.note("open it in a browser within two minutes; it works once");
    }
    Ok(codes::OK)
}

/// `pond __names`: ids and names of the newest jobs, harmless to a shell.
///
/// # Errors
/// No pool.
pub fn names(ctx: &Ctx) -> Done {
    let jobs = jobs(&ctx.client()?, &JobQuery::default(), 200)?;
    let plain = |name: &str| {
        !name.is_empty()
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
    };
    let mut names: BTreeSet<String> = jobs.iter().map(|job| job.id.to_string()).collect();
    names.extend(jobs.iter().filter(|job| plain(&job.name)).map(|job| clean(&job.name).into_owned()));
    names.insert("@last".to_owned());
    for name in names {
        ctx.out.line(&name)?;
    }
    Ok(codes::OK)
}

/// `pond man`: one page to standard output, or a page a verb into a folder.
///
/// # Errors
/// There is no such verb; the folder cannot be written.
pub fn man(ctx: &Ctx, verb: &[String], dir: Option<&Path>) -> Done {
    let mut command = Cli::command();
    let Some(dir) = dir else {
        // Names of whole verbs are given when all is built.
        command.build();
        for word in verb {
            let name = command.get_bin_name().unwrap_or("pond").to_owned();
            let Some(below) = command.find_subcommand(word).cloned() else {
                return Err(CliError::Usage {
                    what: format!("{name} has no verb `{}`", clean(word)),
                    next: Some(format!("`{name} --help` lists all")),
                });
            };
            command = below;
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(|why| CliError::io("making the page", why))?;
        ctx.out.bytes(&page)?;
        return Ok(codes::OK);
    };
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(command, dir))
        .map_err(|why| CliError::io(format!("writing into {}", dir.display()), why))?;
    ctx.out.said(&format!("pages written to {}", dir.display()))?;
    Ok(codes::OK)
}
