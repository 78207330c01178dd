//! `pond doctor`: what this machine can do. Needs no server.

use super::state_dir;
use crate::error::{CliError, Done, codes};
use crate::out::{Cell, Column, Style, Table, clean};
use crate::verbs::Ctx;
use pond_node::probe::{Doctor, State, doctor as probe};

/// `pond doctor`. Ends with 0 unless no pool could run here at all.
///
/// # Errors
/// The state folder cannot be made.
pub fn doctor(ctx: &Ctx) -> Done {
    let dir = state_dir(&ctx.globals);
    let new = !dir.exists();
    let found = probe(&dir, &pond_node::launcher::own());
    if new {
        // What was only made for the trials goes; it stays when something else is in it.
        std::fs::remove_dir(&dir).unwrap_or_default();
    }
    if ctx.out.format.is_data() {
        ctx.out.value(&found).map_err(|why| CliError::Pool { what: why.to_string(), next: None })?;
    } else {
        print(ctx, &found)?;
    }
    let none = found.row("state folder").is_some_and(|row| row.state == State::Missing);
    Ok(if none { codes::FAILED } else { codes::OK })
}

fn print(ctx: &Ctx, found: &Doctor) -> Result<(), CliError> {
    let mut table = Table::new(vec![
        Column::left("WHAT"),
        Column::left("STATE"),
        Column::right("TOOK").wide(),
        Column::left("FOUND"),
    ]);
    for row in &found.rows {
        let (style, word) = match row.state {
            State::Ok => (Style::Green, "ok"),
            State::Degraded => (Style::Yellow, "in part"),
            State::Missing => (Style::Red, "missing"),
        };
        let took = format!("{}.{:01}ms", row.took_us / 1000, row.took_us % 1000 / 100);
        table.row(vec![(&row.name).into(), Cell::styled(style, word), took.into(), (&row.detail).into()]);
    }
    ctx.out.table(&table)?;
    for row in found.rows.iter().filter(|row| row.state != State::Ok) {
        ctx.out.line("")?;
        ctx.out.line(&ctx.out.paint(Style::Bold, &clean(&row.name)))?;
        for (name, text) in [("costs", &row.cost), ("mend", &row.remedy)] {
            if !text.is_empty() {
                ctx.out.line(&format!("  {name:<6} {}", clean(text)))?;
            }
        }
    }
    Ok(())
}
