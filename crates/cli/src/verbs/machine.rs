//! `pond node` and `pond gpu`: machines and what is on them.

use super::Ctx;
use super::status::amounts;
use crate::args::{GpuArgs, NodeVerb};
use crate::client::{Client, encode};
use crate::error::{CliError, Done, codes};
use crate::out::{Cell, Column, Style, Table, clean};
use crate::watch::watched;
use pond_core::units::{Bytes, MilliCpu, Thousandths};
use pond_server::api::types::{DeviceView, FreeSize, HolderView, LabelBody, NodeView};
use std::collections::BTreeMap;

/// `pond node ...`.
///
/// # Errors
/// No pool, no such node, or a refusal.
pub fn node(ctx: &Ctx, verb: &NodeVerb) -> Done {
    let client = ctx.client()?;
    match verb {
        NodeVerb::Ls(watch) => watched(&ctx.out, *watch, || {
            let nodes: Vec<NodeView> = client.get("/nodes", &())?;
            if ctx.out.format.is_data() { ctx.out.value(&nodes) } else { ctx.out.table(&table(&nodes)) }
        }),
        NodeVerb::Show { node } => {
            let name = match node {
                Some(node) => node.clone(),
                None => only(&client)?,
            };
            let view: NodeView = client.get(&format!("/nodes/{}", encode(&name)), &())?;
            shown(ctx, &view)
        }
        NodeVerb::Drain { node } => post(ctx, &client, node, "drain", &()),
        NodeVerb::Resume { node } => post(ctx, &client, node, "resume", &()),
        NodeVerb::Label { node, labels } => {
            post(ctx, &client, node, "label", &LabelBody { labels: pairs(labels)? })
        }
    }
}

fn only(client: &Client) -> Result<String, CliError> {
    let nodes: Vec<NodeView> = client.get("/nodes", &())?;
    match &nodes[..] {
        [node] => Ok(node.name.clone()),
        _ => Err(CliError::Usage {
            what: format!("there are {} nodes", nodes.len()),
            next: Some("say which; `pond node ls` lists them".to_owned()),
        }),
    }
}

/// `NAME=VALUE`, several.
///
/// # Errors
/// One has no `=` or no name.
pub fn pairs(texts: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(CliError::usage(format!("`{text}` is not NAME=VALUE"))),
        })
        .collect()
}

fn post(ctx: &Ctx, client: &Client, node: &str, verb: &str, body: &impl serde::Serialize) -> Done {
    let view: NodeView = client.post(&format!("/nodes/{}/{verb}", encode(node)), body)?;
    if ctx.out.format.is_data() {
        ctx.out.value(&view)?;
    } else {
        ctx.out.line(&format!("{}: {}", clean(&view.name), clean(&view.state)))?;
    }
    Ok(codes::OK)
}

fn state(view: &NodeView) -> Cell {
    let style = match view.state.as_str() {
        "ready" => Style::Green,
        "draining" => Style::Yellow,
        _ => Style::Red,
    };
    Cell::styled(style, &view.state)
}

fn table(nodes: &[NodeView]) -> Table {
    let mut table = Table::new(vec![
        Column::left("NAME"),
        Column::left("STATE"),
        Column::right("CPU"),
        Column::right("BUSY"),
        Column::right("SPARE").wide(),
        Column::right("MEMORY"),
        Column::right("DISK"),
        Column::right("DEVICES"),
        Column::right("TASKS"),
        Column::left("LABELS").wide(),
    ]);
    for node in nodes {
        let labels: Vec<String> = node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let of = |part: &dyn std::fmt::Display, whole: &dyn std::fmt::Display| format!("{part}/{whole}");
        table.row(vec![
            (&node.name).into(),
            state(node),
            of(&MilliCpu(node.granted.cpu_milli), &MilliCpu(node.capacity.cpu_milli)).into(),
            MilliCpu(node.busy_cpu_milli).to_string().into(),
            MilliCpu(node.spare_cpu_milli).to_string().into(),
            of(&Bytes(node.granted.memory_bytes), &Bytes(node.capacity.memory_bytes)).into(),
            of(&Bytes(node.granted.disk_bytes), &Bytes(node.capacity.disk_bytes)).into(),
            node.devices.len().into(),
            node.gangs.len().into(),
            labels.join(",").into(),
        ]);
    }
    table
}

fn shown(ctx: &Ctx, view: &NodeView) -> Done {
    if ctx.out.format.is_data() {
        return ctx.out.value(view).map(|()| codes::OK);
    }
    let mut text = format!("{}  {}\n", clean(&view.name), clean(&view.state));
    let mut field = |name: &str, value: String| text.push_str(&format!("{name:<10} {}\n", clean(&value)));
    field("capacity", amounts(&view.capacity));
    field("granted", amounts(&view.granted));
    field("busy", format!("{} cores really used", MilliCpu(view.busy_cpu_milli)));
    field("spare", format!("{} cores asked by spare tasks", MilliCpu(view.spare_cpu_milli)));
    for (name, value) in &view.labels {
        field("label", format!("{name}={value}"));
    }
    for gang in &view.gangs {
        field("runs", gang.clone());
    }
    ctx.out.text(&text)?;
    if !view.devices.is_empty() {
        ctx.out.table(&devices(&view.devices))?;
    }
    Ok(codes::OK)
}

/// `pond gpu`.
///
/// # Errors
/// No pool, or it refuses.
pub fn gpu(ctx: &Ctx, args: GpuArgs) -> Done {
    let client = ctx.client()?;
    watched(&ctx.out, args.watch, || {
        let views: Vec<DeviceView> = client.get("/devices", &())?;
        if ctx.out.format.is_data() {
            return ctx.out.value(&views);
        }
        if views.is_empty() {
            ctx.out.note("no node of this pool has devices (`pond doctor` says what was looked for)");
        }
        if args.topology { topology(ctx, &views) } else { ctx.out.table(&devices(&views)) }
    })
}

/// A matrix for each node, as `nvidia-smi topo -m` has it.
fn topology(ctx: &Ctx, views: &[DeviceView]) -> Result<(), CliError> {
    for node in views.chunk_by(|a, b| a.node == b.node) {
        let known = !node[0].links.is_empty();
        let heads = node.iter().filter(|_| known).map(|view| Column::numbered(view.device));
        let ends = [Column::left("NUMA"), Column::left("MODEL")];
        let head = [Column::left("NODE"), Column::right("DEVICE")];
        let mut table = Table::new(head.into_iter().chain(heads).chain(ends).collect());
        for view in node {
            let numa = view.numa.map_or_else(|| "?".to_owned(), |node| node.to_string());
            let mut row = vec![(&view.node).into(), view.device.into()];
            row.extend(view.links.iter().map(Cell::from));
            row.extend([numa.into(), (&view.model).into()]);
            table.row(row);
        }
        ctx.out.table(&table)?;
    }
    let note = "NV#: links of NVLink; XGMI#: hops of XGMI; PIX: one PCIe switch; PXB: several; PHB: a host bridge; NODE: a NUMA node; SYS: the system";
    if views.iter().any(|view| !view.links.is_empty()) {
        ctx.out.note(note);
    }
    Ok(())
}

/// In which sizes it can be had: `whole, or shares`, `0.7 of its time and 5GB`, `nothing`.
fn free_now(view: &DeviceView) -> String {
    let has = |mode: &str| view.free.iter().find(|size| size.mode == mode);
    let part = |size: &FreeSize| {
        format!("{} of its time and {}", Thousandths(size.compute_thousandths), Bytes(size.memory_bytes))
    };
    let parts = view.free.iter().filter(|size| size.mode == "space");
    let parts: Vec<String> = parts
        .filter_map(|size| size.profile.as_ref().map(|name| format!("{} {name}", size.count)))
        .filter(|part| !part.contains("+me"))
        .collect();
    if !parts.is_empty() && has("exclusive").or_else(|| has("time")).is_none() {
        return parts.join(" or ");
    }
    match (has("exclusive"), has("time").or_else(|| has("space")), has("advisory")) {
        (Some(_), Some(_), _) => "whole, or shares".to_owned(),
        (Some(_), None, _) => "whole".to_owned(),
        (None, Some(size), _) => part(size),
        (None, None, Some(size)) => format!("{}, advisory", part(size)),
        (None, None, None) => "nothing".to_owned(),
    }
}

/// What somebody has of it: `whole`, `0.3 and 6.9GB`, `500MB` for memory and what time others leave, `3g.40gb`.
fn part_of(view: &DeviceView, holder: &HolderView) -> String {
    let memory = Bytes(holder.memory_bytes);
    match (&holder.partition, view.shared_as.as_deref(), holder.compute_thousandths) {
        (Some(partition), ..) => partition.clone(),
        (None, Some("exclusive"), _) => "whole".to_owned(),
        (None, _, 0) => memory.to_string(),
        (None, _, compute) => format!("{} and {memory}", Thousandths(compute)),
    }
}

fn devices(views: &[DeviceView]) -> Table {
    let mut table = Table::new(vec![
        Column::left("NODE"),
        Column::right("DEVICE"),
        Column::left("KIND"),
        Column::left("MODEL"),
        Column::left("HEALTH"),
        Column::left("FREE NOW"),
        Column::right("FREE MEMORY"),
        Column::left("SHARED").wide(),
        Column::left("UUID").wide(),
        Column::left("BECAUSE").wide(),
        Column::left("ON IT"),
    ]);
    for view in views {
        let holders: Vec<String> = view
            .holders
            .iter()
            .map(|holder| {
                let share = part_of(view, holder);
                let unkept = if view.shared_as.as_deref() == Some("advisory") { ", advisory" } else { "" };
                format!("{} ({}, {share}{unkept})", holder.task, holder.user)
            })
            .collect();
        let style = match view.health.as_str() {
            "healthy" => Style::Green,
            "suspect" | "back" => Style::Yellow,
            _ => Style::Red,
        };
        table.row(vec![
            (&view.node).into(),
            view.device.into(),
            (&view.kind).into(),
            (&view.model).into(),
            Cell::styled(style, &view.health),
            free_now(view).into(),
            format!("{}/{}", Bytes(view.free_memory_bytes), Bytes(view.memory_bytes)).into(),
            if view.modes.is_empty() { "never granted".into() } else { view.modes.join(",").into() },
            (&view.uuid).into(),
            view.because.as_ref().into(),
            holders.join(", ").into(),
        ]);
    }
    table
}
