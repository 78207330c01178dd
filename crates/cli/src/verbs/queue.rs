//! `pond queue`: who may have how much.

use super::Ctx;
use super::machine::pairs;
use crate::args::{QueueFlags, QueueVerb};
use crate::client::{Client, encode};
use crate::error::{CliError, Done, codes};
use crate::out::{Column, Table};
use crate::watch::watched;
use pond_core::model::HostAccess;
use pond_core::units::{Bytes, MilliCpu, Thousandths};
use pond_server::api::types::{Effected, QueueAmounts, QueueBody, QueueTrial, QueueView};

/// `pond queue ...`.
///
/// # Errors
/// No pool, no such queue, or a refusal.
pub fn queue(ctx: &Ctx, verb: &QueueVerb) -> Done {
    let client = ctx.client()?;
    match verb {
        QueueVerb::Ls(watch) => watched(&ctx.out, *watch, || {
            let queues: Vec<QueueView> = client.get("/queues", &())?;
            if ctx.out.format.is_data() { ctx.out.value(&queues) } else { ctx.out.table(&table(&queues)) }
        }),
        QueueVerb::Show { queue } => shown(ctx, &client.get(&path(queue), &())?),
        QueueVerb::Set { queue, flags, dry_run } => {
            let (body, host) = existing(&client, queue)?;
            let body = changed(body, host, flags)?;
            if *dry_run {
                let trial: QueueTrial = client.post(&format!("/plan{}", path(queue)), &body)?;
                return tried(ctx, &trial);
            }
            shown(ctx, &client.put(&path(queue), &body)?)
        }
        QueueVerb::Rm { queue } => {
            client.delete(&path(queue))?;
            ctx.out.said(&format!("{queue}: removed"))?;
            Ok(codes::OK)
        }
    }
}

/// Where a queue is below the API.
pub(super) fn path(queue: &str) -> String {
    let parts: Vec<String> = queue.split('/').map(encode).collect();
    format!("/queues/{}", parts.join("/"))
}

/// Asked when an answer about a queue is empty: whether there is such a queue at all.
///
/// # Errors
/// There is none, or none that this user may see.
pub(super) fn must_be_there(client: &Client, queue: Option<&String>) -> Result<(), CliError> {
    match queue.map(|name| name.trim_matches('/')).filter(|name| !name.is_empty()) {
        Some(name) => client.get::<QueueView>(&path(name), &()).map(drop),
        None => Ok(()),
    }
}

/// What is set now, with what of the machine is open; the defaults for a queue that is not there yet.
fn existing(client: &Client, queue: &str) -> Result<(QueueBody, HostAccess), CliError> {
    match client.get::<QueueView>(&path(queue), &()) {
        Ok(view) => Ok((view.settings, view.host.into())),
        // What is open to one above is open to a new one.
        Err(CliError::Refused(problem)) if problem.status == 404 => match queue.rsplit_once('/') {
            Some((above, _)) => existing(client, above).map(|(_, open)| (QueueBody::default(), open)),
            None => Ok(Default::default()),
        },
        Err(why) => Err(why),
    }
}

/// `open`: what of the machine is open to it now, by its own setting or that of one above.
fn changed(mut body: QueueBody, open: HostAccess, flags: &QueueFlags) -> Result<QueueBody, CliError> {
    if let Some(text) = &flags.host {
        body.host = host(text, open)?.map(Into::into);
    }
    body.weight = flags.weight.unwrap_or(body.weight);
    body.borrow = flags.borrow.unwrap_or(body.borrow);
    body.oversubscribe = flags.oversubscribe.unwrap_or(body.oversubscribe);
    set(&mut body.guarantee, &flags.guarantee)?;
    set(&mut body.limit, &flags.limit)?;
    Ok(body)
}

/// What `--host` says.
fn host(text: &str, open: HostAccess) -> Result<Option<HostAccess>, CliError> {
    let wrong = |why: String| CliError::usage(format!("--host: {why}"));
    if text == "inherit" {
        return Ok(None);
    }
    let Some(more) = text.strip_prefix('+') else { return text.parse().map(Some).map_err(wrong) };
    let more: HostAccess = more.parse().map_err(wrong)?;
    let (root, process) = (open.root || more.root, open.process || more.process);
    let kept = open.folders.into_iter().filter(|old| more.folders.iter().all(|new| new.path != old.path));
    Ok(Some(HostAccess { root, process, folders: kept.chain(more.folders.iter().cloned()).collect() }))
}

fn set(amounts: &mut QueueAmounts, texts: &[String]) -> Result<(), CliError> {
    for (name, value) in pairs(texts)? {
        let wrong = |why: &dyn std::fmt::Display| CliError::usage(format!("{name}={value}: {why}"));
        let cpu = |text: &str| text.parse::<MilliCpu>().map(|it| it.0).map_err(|why| wrong(&why));
        let bytes = |text: &str| text.parse::<Bytes>().map(|it| it.0).map_err(|why| wrong(&why));
        let given = (!value.is_empty()).then_some(value.as_str());
        match name.as_str() {
            "cpu" => amounts.cpu_milli = given.map(cpu).transpose()?,
            "memory" => amounts.memory_bytes = given.map(bytes).transpose()?,
            "disk" => amounts.disk_bytes = given.map(bytes).transpose()?,
            "running" => {
                amounts.running = given.map(|text| text.parse().map_err(|why| wrong(&why))).transpose()?
            }
            "gpu" | "fpga" | "npu" | "opencl" => match given {
                Some(text) => drop(amounts.device_thousandths.insert(name.clone(), cpu(text)?)),
                None => drop(amounts.device_thousandths.remove(&name)),
            },
            _ => {
                return Err(CliError::Usage {
                    what: format!("`{name}` is not something a queue counts"),
                    next: Some("use cpu, memory, disk, gpu, fpga, npu, opencl or running".to_owned()),
                });
            }
        }
    }
    Ok(())
}

/// What a change would do.
fn tried(ctx: &Ctx, trial: &QueueTrial) -> Done {
    if ctx.out.format.is_data() {
        ctx.out.value(trial)?;
        return Ok(codes::OK);
    }
    if !trial.over.is_empty() {
        let what = trial.over.join(", ");
        ctx.out.line(&format!("{} would hold more {what} than its limit: what runs stays", trial.path))?;
    }
    if trial.affected.is_empty() {
        ctx.out.line("nobody is affected by the next plan")?;
    } else {
        let mut table = Table::new(vec![
            Column::left("ELEMENT"),
            Column::left("NAME"),
            Column::left("USER"),
            Column::left("QUEUE"),
            Column::left("WOULD"),
            Column::left("WHY"),
        ]);
        for it in &trial.affected {
            table.row(vec![
                (&it.element).into(),
                it.name.as_ref().into(),
                it.user.as_ref().into(),
                it.queue.as_ref().into(),
                would(it.what).into(),
                it.reason.as_ref().into(),
            ]);
        }
        ctx.out.table(&table)?;
    }
    if trial.more > 0 {
        ctx.out.line(&format!("and {} more", trial.more))?;
    }
    ctx.out.note("nothing was changed");
    Ok(codes::OK)
}

const fn would(what: Effected) -> &'static str {
    match what {
        Effected::Evicted => "be evicted",
        Effected::Shrinks => "give ranks back",
        Effected::Freezes => "be frozen",
        Effected::HeldBack => "not start now",
        Effected::Never => "never start",
        Effected::Waits => "wait",
        Effected::Starts => "start",
        Effected::Grows => "get more ranks",
        Effected::Thaws => "run again",
    }
}

fn shown(ctx: &Ctx, view: &QueueView) -> Done {
    if ctx.out.format.is_data() {
        ctx.out.value(view)?;
    } else {
        ctx.out.table(&table(std::slice::from_ref(view)))?;
    }
    Ok(codes::OK)
}

/// Amounts in a line; absent ones are left out.
fn line(amounts: &QueueAmounts) -> String {
    let mut parts = Vec::new();
    parts.extend(amounts.cpu_milli.map(|it| format!("cpu={}", MilliCpu(it))));
    parts.extend(amounts.memory_bytes.map(|it| format!("memory={}", Bytes(it))));
    parts.extend(amounts.disk_bytes.map(|it| format!("disk={}", Bytes(it))));
    parts.extend(amounts.device_thousandths.iter().map(|(kind, it)| format!("{kind}={}", Thousandths(*it))));
    parts.extend(amounts.running.map(|it| format!("running={it}")));
    if parts.is_empty() { "-".to_owned() } else { parts.join(",") }
}

fn table(queues: &[QueueView]) -> Table {
    let mut table = Table::new(vec![
        Column::left("QUEUE"),
        Column::right("WEIGHT"),
        Column::left("BORROWS"),
        Column::right("WAITING"),
        Column::right("INFEASIBLE"),
        Column::left("USED"),
        Column::left("GUARANTEE"),
        Column::left("LIMIT"),
        Column::left("HOST").wide(),
        Column::right("HISTORY").wide(),
    ]);
    for view in queues {
        table.row(vec![
            if view.path.is_empty() { "/".into() } else { (&view.path).into() },
            view.settings.weight.into(),
            if view.settings.borrow { "yes" } else { "no" }.into(),
            view.waiting.into(),
            view.infeasible.into(),
            line(&view.used).into(),
            line(&view.settings.guarantee).into(),
            line(&view.settings.limit).into(),
            HostAccess::from(view.host.clone()).to_string().into(),
            view.history.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays() {
        let flags = |guarantee: &[&str], limit: &[&str]| QueueFlags {
            guarantee: guarantee.iter().map(|&it| it.to_owned()).collect(),
            limit: limit.iter().map(|&it| it.to_owned()).collect(),
            ..QueueFlags::default()
        };
        let first = changed(
            QueueBody::default(),
            HostAccess::default(),
            &flags(&["cpu=8", "gpu=0.5"], &["running=3"]),
        )
        .unwrap();
        assert_eq!(first.guarantee.device_thousandths["gpu"], 500);
        let second = changed(first, HostAccess::default(), &flags(&["gpu="], &["memory=1GB"])).unwrap();
        assert_eq!(line(&second.guarantee), "cpu=8");
        assert_eq!(line(&second.limit), "memory=1GB,running=3");
        assert!(changed(QueueBody::default(), HostAccess::default(), &flags(&["ram=1"], &[])).is_err());
        assert!(changed(QueueBody::default(), HostAccess::default(), &flags(&["cpu=x"], &[])).is_err());
    }

    #[test]
    fn what_of_the_machine_is_open_is_set_added_to_or_left_to_the_queue_above() {
        let open = || "root,/data".parse::<HostAccess>().unwrap();
        let set = |text| host(text, open()).unwrap().map(|access| access.to_string());
        assert_eq!(set("none").unwrap(), "none");
        assert_eq!(set("/x").unwrap(), "/x");
        assert_eq!(set("+process,/data:rw").unwrap(), "root,process,/data:rw");
        assert_eq!(set("inherit"), None);
        assert!(host("+x", open()).is_err());
    }
}
