//! `pond sched policies`, and policies as they are named on the command line.

use crate::error::{CliError, Done, codes};
use crate::out::{Column, Table};
use crate::verbs::Ctx;
use pond_core::plan::named::{ALL, Named, PolicyError, by_name};
use serde::Serialize;

/// The policies with these names, in their order.
///
/// # Errors
/// There is none of that name, or one is named twice.
pub fn named(names: &[String]) -> Result<Vec<(String, Named)>, CliError> {
    let mut found: Vec<(String, Named)> = Vec::new();
    for name in names.iter().map(|name| name.trim()) {
        if found.iter().any(|(known, _)| known == name) {
            return Err(CliError::Usage {
                what: format!("policy `{name}` is named twice"),
                next: Some("name each once; another backfill makes it another, as sjf+easy".to_owned()),
            });
        }
        found.push((name.to_owned(), by_name(name).map_err(|why| unknown(&why))?));
    }
    if found.is_empty() { Err(CliError::usage("no policy is named")) } else { Ok(found) }
}

/// Says which there are.
pub fn unknown(why: &PolicyError) -> CliError {
    let names: Vec<&str> = ALL.iter().map(|named| named.name).collect();
    let next = match why {
        PolicyError::Unknown(_) => Some(format!("take one of {}", names.join(", "))),
        PolicyError::Backfill(_) => None,
    };
    CliError::Usage { what: why.to_string(), next }
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    backfill: &'static str,
    predicts: bool,
    evicts: bool,
    what: &'static str,
    paper: &'static str,
}

/// `pond sched policies`.
///
/// # Errors
/// Nobody reads.
pub fn policies(ctx: &Ctx) -> Done {
    let rows: Vec<Row> = ALL
        .iter()
        .map(|named| Row {
            name: named.name,
            backfill: named.backfill_name(),
            predicts: named.predicts,
            evicts: named.evicts,
            what: named.what,
            paper: named.paper,
        })
        .collect();
    if ctx.out.format.is_data() {
        ctx.out.value(&rows)?;
        return Ok(codes::OK);
    }
    let mut table = Table::new(vec![
        Column::left("POLICY"),
        Column::left("PASSING"),
        Column::left("RUN TIMES"),
        Column::left("EVICTS"),
        Column::left("AFTER"),
        Column::left("WHAT"),
    ]);
    for row in rows {
        table.row(vec![
            row.name.into(),
            row.backfill.into(),
            if row.predicts { "told" } else { "unknown" }.into(),
            if row.evicts { "yes" } else { "no" }.into(),
            row.paper.into(),
            row.what.into(),
        ]);
    }
    ctx.out.table(&table)?;
    Ok(codes::OK)
}
