//! Every node and device at a glance. The picture is drawn by `map.js`; without it the same is a table.

use super::session::Visitor;
use super::{Oops, Page, Shell, assets, device, joined, render, show};
use crate::api::types::{DeviceView, NodeView};
use crate::api::{Shared, pool};
use askama::Template;
use axum::Json;
use axum::extract::State as Extract;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Nodes of the table, which is for reading; the picture shows all.
const ROWS: usize = 200;

#[derive(Template)]
#[template(path = "map.html")]
struct MapPage {
    shell: Shell,
    nodes: Vec<NodeView>,
}

impl MapPage {
    fn rows() -> usize {
        ROWS
    }

    fn joined(&self) -> Vec<joined::Joined<'_>> {
        joined::joined(&self.nodes)
    }

    fn devices(&self) -> usize {
        self.nodes.iter().map(|node| node.devices.len()).sum()
    }

    /// Devices that are not healthy, and how many are not shown.
    fn unwell(&self) -> (Vec<&DeviceView>, usize) {
        let unwell = || self.nodes.iter().flat_map(|node| &node.devices).filter(|device| !device.healthy);
        (unwell().take(ROWS).collect(), unwell().skip(ROWS).count())
    }
}

/// The map.
pub async fn page(Extract(shared): Extract<Shared>, visitor: Visitor, here: Uri) -> Page {
    let shell = Shell::new(&visitor, "Map", "map", &here);
    let nodes = pool::nodes(Extract(shared), visitor.caller).await?.0;
    render(&MapPage { shell, nodes })
}

/// What the picture is drawn from: thousands of these, so names are short.
#[derive(Serialize)]
struct Tile {
    /// Name of the node.
    n: String,
    /// Its state.
    s: String,
    /// CPU granted, really busy and in all, thousandths of a core.
    c: [u64; 3],
    /// Gangs on it.
    g: Vec<String>,
    /// Its devices.
    d: Vec<Chip>,
}

#[derive(Serialize)]
struct Chip {
    /// Kind and model.
    m: String,
    /// Whether it may be granted.
    h: bool,
    /// How it is, when it is not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<String>,
    /// What was told of it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<String>,
    /// Since when, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<String>,
    /// What its memory has been through.
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    /// Granted, thousandths.
    u: u64,
    /// Who is on it: task, user, class, thousandths.
    w: Vec<(String, String, &'static str, u64)>,
}

/// The nodes and devices, for the picture.
pub async fn data(Extract(shared): Extract<Shared>, visitor: Visitor) -> Result<Response, Oops> {
    let nodes = pool::nodes(Extract(shared), visitor.caller).await?.0;
    let tiles: Vec<Tile> = nodes.into_iter().map(tile).collect();
    Ok(Json(tiles).into_response())
}

fn tile(node: NodeView) -> Tile {
    let chip = |device: DeviceView| Chip {
        m: format!("{} {}", device.kind, device.model),
        h: device.healthy,
        x: device::worn(&device),
        s: (!device.healthy).then_some(device.health),
        b: device.because,
        t: device.since_ms.map(show::moment),
        u: 1000 - device.free_compute_thousandths.min(1000),
        w: device
            .holders
            .into_iter()
            .map(|holder| (holder.task, holder.user, show::class(&holder.class), holder.compute_thousandths))
            .collect(),
    };
    Tile {
        n: node.name,
        s: node.state,
        c: [node.granted.cpu_milli, node.busy_cpu_milli, node.capacity.cpu_milli],
        g: node.gangs,
        d: node.devices.into_iter().map(chip).collect(),
    }
}
