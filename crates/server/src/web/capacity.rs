//! Machines: what each has, what is free on it in one piece, how it is, and taking it out of service.

use super::form::Signed;
use super::session::Visitor;
use super::{Oops, Page, Shell, assets, device, render, show};
use crate::api::extract::Name;
use crate::api::types::{EventQuery, EventView, NodeView};
use crate::api::{Shared, events, pool};
use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Extract};
use axum::http::Uri;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

/// Nodes shown.
const ROWS: usize = 500;

#[derive(Template)]
#[template(path = "capacity.html")]
struct CapacityPage {
    shell: Shell,
    nodes: Vec<NodeView>,
    models: Vec<device::Model>,
    events: Vec<EventView>,
}

impl CapacityPage {
    fn rows() -> usize {
        ROWS
    }

    /// The most CPU that is free on one node, of all that is free.
    fn largest(&self) -> (u64, u64) {
        let free = self.nodes.iter().filter(|node| node.state == "ready");
        let free = free.map(|node| node.capacity.cpu_milli.saturating_sub(node.granted.cpu_milli));
        free.fold((0, 0), |(most, sum), free| (most.max(free), sum + free))
    }

    fn whole_devices(&self) -> (usize, usize) {
        let devices =
            || self.nodes.iter().filter(|node| node.state == "ready").flat_map(|node| &node.devices);
        let free = devices().filter(|device| device.healthy && device.holders.is_empty()).count();
        (free, devices().count())
    }

    fn free(node: &NodeView) -> u64 {
        node.capacity.cpu_milli.saturating_sub(node.granted.cpu_milli)
    }
}

/// The machines.
pub async fn page(Extract(shared): Extract<Shared>, visitor: Visitor, here: Uri) -> Page {
    let shell = Shell::new(&visitor, "Capacity", "capacity", &here);
    let nodes = pool::nodes(Extract(shared.clone()), visitor.caller.clone()).await?.0;
    let mut told = Vec::new();
    for kind in ["node.", "device."] {
        let query = EventQuery { kind: Some(kind.to_owned()), limit: Some(1000), ..EventQuery::default() };
        told.extend(events::page(&shared, &visitor.caller, query).await?.events);
    }
    told.sort_by_key(|event| std::cmp::Reverse(event.seq));
    told.truncate(20);
    let models = device::models(&nodes);
    render(&CapacityPage { shell, nodes, models, events: told })
}

/// What a button of a machine does.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Take no more tasks.
    Drain,
    /// Take tasks again.
    Resume,
}

/// Drains a machine, or takes it into service again.
pub async fn act(
    Extract(shared): Extract<Shared>,
    deed: Result<Path<(String, Deed)>, PathRejection>,
    form: Signed,
) -> Result<Response, Oops> {
    let (state, caller) = (Extract(shared), form.visitor.caller);
    let Path((node, deed)) = deed.map_err(|_unknown| super::nowhere())?;
    let node = match deed {
        Deed::Drain => pool::drain(state, caller, Name(node)).await?,
        Deed::Resume => pool::resume(state, caller, Name(node)).await?,
    };
    Ok(Redirect::to(&format!("/capacity#{}", show::in_query(&node.0.name))).into_response())
}
