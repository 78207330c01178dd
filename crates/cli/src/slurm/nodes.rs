//! `sinfo`.

use super::flags::{Given, switch, with_value};
use super::format::Format;
use crate::error::{CliError, Done, codes};
use crate::verbs::Ctx;
use pond_server::api::types::{NodeView, QueueView};
use std::collections::BTreeMap;

/// `sinfo`.
///
/// # Errors
/// A flag that means nothing, or no pool.
pub fn sinfo(ctx: &Ctx, args: &[String]) -> Done {
    let known = [
        with_value('o', "format"),
        with_value('n', "nodes"),
        with_value('t', "states"),
        with_value('p', "partition"),
        with_value('M', "clusters"),
        switch('N', "Node"),
        switch('h', "noheader"),
        switch('l', "long"),
        switch('s', "summarize"),
        switch('a', "all"),
        switch('e', "exact"),
        switch('r', "responding"),
    ];
    let given = Given::read("sinfo", &known, args)?;
    let (names, states) = (given.list("nodes"), given.list("states"));
    let mut nodes: Vec<NodeView> = ctx.client()?.get("/nodes", &())?;
    nodes.retain(|node| {
        (names.is_empty() || names.contains(&node.name))
            && (states.is_empty()
                || states
                    .iter()
                    .any(|it| it.eq_ignore_ascii_case(state(node)) || it.eq_ignore_ascii_case("all")))
    });
    let partitions = partitions(ctx, &given)?;
    if given.has("summarize") {
        return summary(ctx, &given, &partitions, &nodes);
    }
    let usual = match (given.has("Node"), given.has("long")) {
        (true, true) => "%.12N %.6D %.9P %.11T %.4c %.8m %.8d %.6w %.8f %20E",
        (true, false) => "%.12N %.6D %.9P %6t",
        (false, true) => "%9P %.5a %.10l %.10s %.4r %.8h %.10g %.6D %.11T %N",
        (false, false) => "%9P %.5a %.10l %.6D %6t %N",
    };
    let format = Format::parse(given.get("format").unwrap_or(usual));
    if !given.has("noheader") {
        ctx.out.line(&format.line(|letter| title(letter).to_owned()))?;
    }
    for partition in &partitions {
        for node in &nodes {
            ctx.out.line(&format.line(|letter| match letter {
                'P' => partition.clone(),
                'R' => partition.trim_end_matches('*').to_owned(),
                other => field(other, node),
            }))?;
        }
    }
    Ok(codes::OK)
}

/// The queues that `-p` names and that are there: jobs of each may run on every node. Without it, the pool as a whole.
fn partitions(ctx: &Ctx, given: &Given) -> Result<Vec<String>, CliError> {
    if !given.has("partition") {
        return Ok(vec!["pool*".to_owned()]);
    }
    let queues: Vec<QueueView> = ctx.client()?.get("/queues", &())?;
    let there = |name: &String| queues.iter().any(|queue| queue.path == *name);
    Ok(given.list("partition").into_iter().filter(there).collect())
}

/// One line for each: how many nodes are in use, idle, neither, and all.
fn summary(ctx: &Ctx, given: &Given, partitions: &[String], nodes: &[NodeView]) -> Done {
    let format = Format::parse("%9P %.5a %.10l %.15F %N");
    if !given.has("noheader") {
        ctx.out.line(&format.line(|letter| match letter {
            'F' => "NODES(A/I/O/T)".to_owned(),
            other => title(other).to_owned(),
        }))?;
    }
    let count = |words: &[&str]| nodes.iter().filter(|node| words.contains(&state(node))).count();
    let (used, idle, all) = (count(&["alloc", "mix"]), count(&["idle"]), nodes.len());
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    for partition in partitions {
        ctx.out.line(&format.line(|letter| match letter {
            'P' => partition.clone(),
            'a' => "up".to_owned(),
            'l' => "infinite".to_owned(),
            'F' => format!("{used}/{idle}/{}/{all}", all - used - idle),
            _ => names.join(","),
        }))?;
    }
    Ok(codes::OK)
}

const fn title(letter: char) -> &'static str {
    match letter {
        'P' | 'R' => "PARTITION",
        'a' => "AVAIL",
        'l' => "TIMELIMIT",
        'D' => "NODES",
        't' | 'T' => "STATE",
        'N' | 'n' => "NODELIST",
        'c' => "CPUS",
        'C' => "CPUS(A/I/O/T)",
        'm' => "MEMORY",
        'e' => "FREE_MEM",
        'd' => "TMP_DISK",
        'G' => "GRES",
        'f' => "AVAIL_FEATURES",
        'E' => "REASON",
        'w' => "WEIGHT",
        's' => "JOB_SIZE",
        'r' => "ROOT",
        'h' => "OVERSUBS",
        'g' => "GROUPS",
        _ => "",
    }
}

/// Slurm's word for how a node is.
fn state(node: &NodeView) -> &'static str {
    match node.state.as_str() {
        "ready" if node.granted.cpu_milli == 0 => "idle",
        "ready" if node.granted.cpu_milli >= node.capacity.cpu_milli => "alloc",
        "ready" => "mix",
        "draining" if node.gangs.is_empty() => "drain",
        "draining" => "drng",
        _ => "down",
    }
}

/// What a letter stands for in the line of a node.
pub fn field(letter: char, node: &NodeView) -> String {
    let cores = |milli: u64| milli / 1000;
    match letter {
        'a' => "up".to_owned(),
        'l' => "infinite".to_owned(),
        'D' => "1".to_owned(),
        't' => state(node).to_owned(),
        'T' => match state(node) {
            "alloc" => "allocated",
            "mix" => "mixed",
            "drain" => "drained",
            "drng" => "draining",
            other => other,
        }
        .to_owned(),
        'N' | 'n' => node.name.clone(),
        'c' => cores(node.capacity.cpu_milli).to_string(),
        'C' => {
            let (all, used) = (cores(node.capacity.cpu_milli), cores(node.granted.cpu_milli));
            format!("{used}/{}/0/{all}", all.saturating_sub(used))
        }
        'm' => (node.capacity.memory_bytes >> 20).to_string(),
        'e' => (node.capacity.memory_bytes.saturating_sub(node.granted.memory_bytes) >> 20).to_string(),
        'd' => (node.capacity.disk_bytes >> 20).to_string(),
        'G' => gres(node),
        'f' if node.labels.is_empty() => "(null)".to_owned(),
        'f' => {
            node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        }
        'E' => "none".to_owned(),
        'w' => "1".to_owned(),
        's' => "1-infinite".to_owned(),
        'r' | 'h' => "no".to_owned(),
        'g' => "all".to_owned(),
        _ => String::new(),
    }
}

/// `gpu:H100:8`, one a kind and model.
fn gres(node: &NodeView) -> String {
    let mut counts: BTreeMap<(&str, String), u32> = BTreeMap::new();
    for device in &node.devices {
        *counts.entry((&device.kind, device.model.replace([' ', ','], "-"))).or_default() += 1;
    }
    let all: Vec<String> =
        counts.iter().map(|((kind, model), count)| format!("{kind}:{model}:{count}")).collect();
    if all.is_empty() { "(null)".to_owned() } else { all.join(",") }
}
