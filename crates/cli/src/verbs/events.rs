//! `pond events`: what happened, who did it; as it happens with `-f`.

use super::Ctx;
use crate::args::EventsArgs;
use crate::client::{Client, EventStream};
use crate::error::{CliError, Done, codes};
use crate::out::{Column, Style, Table, clean, moment, parse_when};
use crate::refs::{Careful, find};
use pond_server::api::types::{EventPage, EventQuery, EventView};

/// `pond events`.
///
/// # Errors
/// No pool, no such job, or a refusal.
pub fn events(ctx: &Ctx, args: &EventsArgs) -> Done {
    let client = ctx.client()?;
    let job = args.job.as_deref().map(|text| find(&client, text, Careful::No)).transpose()?;
    let when = |text: &Option<String>| text.as_deref().map(parse_when).transpose();
    let query = EventQuery {
        since: args.since,
        job: job.map(|job| job.job),
        actor: args.actor.clone(),
        kind: args.kind.clone(),
        from: args.from.clone(),
        audit: args.audit.then_some(true),
        after_ms: when(&args.after)?,
        before_ms: when(&args.before)?,
        ..EventQuery::default()
    };
    let (newest, last) = newest(&client, &query, args.limit as usize)?;
    if !args.follow {
        return print(ctx, &newest, args.audit).map(|()| codes::OK);
    }
    for event in &newest {
        one(ctx, event)?;
    }
    crate::term::when_reader_gone(|| std::process::exit(i32::from(codes::PIPE)));
    let mut stream =
        EventStream::open(&client, EventQuery { since: last.or(args.since).or(Some(0)), ..query })?;
    loop {
        let event = stream.next_event()?;
        one(ctx, &event)?;
    }
}

/// The newest entries, oldest first, and the number of the last there is.
fn newest(
    client: &Client,
    query: &EventQuery,
    most: usize,
) -> Result<(Vec<EventView>, Option<u64>), CliError> {
    let mut found: Vec<EventView> = Vec::new();
    let (mut until, mut last) = (None, None);
    loop {
        let limit = u32::try_from(most.saturating_sub(found.len()).clamp(1, 1000)).ok();
        let wanted = EventQuery { newest: Some(true), until, limit, ..query.clone() };
        let page: EventPage = client.get("/events", &wanted)?;
        last = last.or(page.events.first().map(|event| event.seq));
        found.extend(page.events);
        until = page.next;
        if until.is_none() || found.len() >= most {
            break;
        }
    }
    found.truncate(most);
    found.reverse();
    Ok((found, last))
}

fn print(ctx: &Ctx, events: &[EventView], audit: bool) -> Result<(), CliError> {
    if ctx.out.format.is_data() {
        return ctx.out.value(&events);
    }
    let mut table = Table::new(vec![
        Column::right("SEQ").wide(),
        Column::left("WHEN"),
        Column::left("WHO"),
        if audit { Column::left("FROM") } else { Column::left("FROM").wide() },
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
