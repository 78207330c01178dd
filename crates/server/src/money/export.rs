//! The ledger as text: JSON lines, CSV, FOCUS.

use super::bill::line;
use super::{decimal, focus};
use crate::api::types::{LedgerFormat, LedgerLine, NDJSON};
use crate::web::stamp;
use pond_core::money::Period;

/// Something that writes periods as text.
#[derive(Clone, Copy, Debug)]
pub struct Writer(pub LedgerFormat);

/// What comes first and how it is called.
#[derive(Clone, Copy, Debug)]
pub struct Export {
    /// The content type.
    pub content_type: &'static str,
    /// The ending of a file of it.
    pub ending: &'static str,
}

const CSV_HEAD: &str = "period,from,to,closed,queue,user,job,class,resource,model,unit,granted,used,waste,burst,\
price,spare_price,charge,charge_spare,credit,currency";

impl Writer {
    /// How the text is called.
    #[must_use]
    pub const fn export(self) -> Export {
        match self.0 {
            LedgerFormat::Json => Export { content_type: NDJSON, ending: "ndjson" },
            LedgerFormat::Csv | LedgerFormat::Focus => {
                Export { content_type: "text/csv; charset=utf-8", ending: "csv" }
            }
        }
    }

    /// The first line, if there is one.
    #[must_use]
    pub fn head(self) -> String {
        match self.0 {
            LedgerFormat::Json => String::new(),
            LedgerFormat::Csv => format!("{CSV_HEAD}\r\n"),
            LedgerFormat::Focus => focus::head(),
        }
    }

    /// The lines of a period.
    #[must_use]
    pub fn lines(self, period: &Period, closed: bool) -> String {
        let mut text = String::new();
        for entry in &period.entries {
            match self.0 {
                LedgerFormat::Json => {
                    // A line is plain data; serde_json cannot fail on it.
                    text.push_str(&serde_json::to_string(&line(period, entry, closed)).unwrap_or_default());
                    text.push('\n');
                }
                LedgerFormat::Csv => row(&mut text, &columns(&line(period, entry, closed))),
                LedgerFormat::Focus => focus::rows(&mut text, period, entry),
            }
        }
        text
    }
}

fn columns(line: &LedgerLine) -> Vec<String> {
    let money = |micros: u64| decimal(micros.into());
    let amount = &line.amount;
    vec![
        line.period.to_string(),
        stamp(line.from_ms),
        stamp(line.to_ms),
        line.closed.to_string(),
        line.queue.clone(),
        line.user.clone(),
        line.job.to_string(),
        crate::pool::view::word(&line.class),
        amount.resource.clone(),
        amount.model.clone().unwrap_or_default(),
        amount.unit.clone(),
        money(amount.granted_micro_hours),
        money(amount.used_micro_hours),
        money(amount.waste_micro_hours),
        money(amount.burst_micro_hours),
        money(line.price_micros),
        money(line.spare_price_micros),
        money(amount.charge_micros),
        money(line.charge_spare_micros),
        money(amount.credit_micros),
        line.currency.clone(),
    ]
}

/// A row of CSV (RFC 4180). A text that a spreadsheet would take for a formula is made harmless.
pub(super) fn row(text: &mut String, cells: &[String]) {
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        let number =
            cell.strip_prefix('-').is_some_and(|rest| rest.bytes().all(|c| c.is_ascii_digit() || c == b'.'));
        let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && !number;
        if formula || cell.contains([',', '"', '\n', '\r']) {
            let mark = if formula { "'" } else { "" };
            text.push_str(&format!("\"{mark}{}\"", cell.replace('"', "\"\"")));
        } else {
            text.push_str(cell);
        }
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::row;

    #[test]
    fn cells_cannot_break_out_of_their_row_or_compute() {
        let mut text = String::new();
        let cells = ["a,b", "say \"hi\"", "=1+1", "-0.50", "x\ny", "-a"].map(str::to_owned);
        row(&mut text, &cells);
        assert_eq!(text, "\"a,b\",\"say \"\"hi\"\"\",\"'=1+1\",-0.50,\"x\ny\",\"'-a\"\r\n");
    }
}
