//! `pond events`: what happened, who did it; as it happens with `-f`.

use super::Ctx;
use crate::args::EventsArgs;
use crate::client::EventStream;
use crate::error::{CliError, Done, codes};
use crate::out::{Column, Style, Table, clean, moment};
use crate::refs::{Careful, find};
use pond_server::api::types::{EventPage, EventQuery, EventView};
use std::collections::VecDeque;

/// `pond events`.
///
/// # Errors
/// No pool, no such job, or a refusal.
pub fn events(ctx: &Ctx, args: &EventsArgs) -> Done {
    let client = ctx.client()?;
    let job = args.job.as_deref().map(|text| find(&client, text, Careful::No)).transpose()?;
    let query = EventQuery {
        since: args.since,
        job: job.map(|job| job.job),
        actor: args.actor.clone(),
        kind: args.kind.clone(),
        limit: Some(1000),
    };
    // The log is read forward; only the newest are wanted.
    let mut newest: VecDeque<EventView> = VecDeque::new();
    let mut since = query.since;
    loop {
        let page: EventPage = client.get("/events", &EventQuery { since, ..query.clone() })?;
        since = page.events.last().map(|event| event.seq).or(since);
        newest.extend(page.events);
        while newest.len() > args.limit as usize {
            newest.pop_front();
        }
        if page.next.is_none() {
            break;
        }
    }
    if !args.follow {
        return print(ctx, newest.make_contiguous()).map(|()| codes::OK);
    }
    for event in &newest {
        one(ctx, event)?;
    }
    crate::term::when_reader_gone(|| std::process::exit(i32::from(codes::PIPE)));
    let mut stream = EventStream::open(&client, EventQuery { since: since.or(Some(0)), ..query })?;
    loop {
        let event = stream.next_event()?;
        one(ctx, &event)?;
    }
}

fn print(ctx: &Ctx, events: &[EventView]) -> Result<(), CliError> {
    if ctx.out.format.is_data() {
        return ctx.out.value(&events);
    }
    let mut table = Table::new(vec![
        Column::right("SEQ").wide(),
        Column::left("WHEN"),
        Column::left("WHO"),
        Column::left("FROM").wide(),
        Column::left("KIND"),
        Column::left("ABOUT"),
        Column::left("WHAT"),
    ]);
    for event in events {
        table.row(vec![
            event.seq.into(),
            moment(event.at_ms).into(),
            (&event.actor).into(),
            event.from.as_ref().into(),
            (&event.kind).into(),
            about(event).into(),
            (&event.text).into(),
        ]);
    }
    ctx.out.table(&table)
}

fn about(event: &EventView) -> Option<String> {
    event.subject.clone().or_else(|| event.job.map(|job| job.to_string())).or_else(|| event.node.clone())
}

fn one(ctx: &Ctx, event: &EventView) -> Result<(), CliError> {
    if ctx.out.format.is_data() {
        return ctx.out.entry(event);
    }
    ctx.out.line(&format!(
        "{}  {:<16}  {:<8}  {}",
        ctx.out.paint(Style::Dim, &moment(event.at_ms)),
        clean(&event.kind),
        clean(&about(event).unwrap_or_else(|| "-".to_owned())),
        clean(&event.text)
    ))
}
