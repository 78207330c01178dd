//! `pond price`, `pond budget`, `pond bill`.

use super::Ctx;
use super::queue::must_be_there;
use crate::args::{
    BillArgs, BillKey, BudgetEvery, BudgetStops, BudgetVerb, LedgerForm, PriceClass, PriceFlags, PriceVerb,
};
use crate::client::encode;
use crate::error::{CliError, Done, codes};
use crate::out::{Cell, Column, Style, Table, moment, now_ms, parse_when};
use pond_core::money::Span;
use pond_core::units::Timestamp;
use pond_server::api::types::{
    BillAmount, BillBy, BillQuery, BillReport, BillRow, BudgetBody, BudgetSpan, BudgetStop, BudgetView,
    Class, LedgerFormat, LedgerQuery, PriceBody, PriceView, PricesBody, PricesQuery, PricesView,
};
use serde::Deserialize;
use std::io::Read as _;

/// `12.50` of micro-units: at least two decimals, and as many as it has.
#[must_use]
pub fn money(micros: impl Into<i128>) -> String {
    pond_core::money::decimal(micros.into())
}

/// Micro-units of a decimal number with up to six decimals.
fn micros(text: &str) -> Result<u64, CliError> {
    pond_core::money::micros(text).ok_or_else(|| CliError::Usage {
        what: format!("`{text}` is not an amount of money"),
        next: Some("write 2.10: digits, and up to six of them behind a point".to_owned()),
    })
}

fn whens(text: Option<&String>) -> Result<Option<u64>, CliError> {
    text.map(|text| parse_when(text)).transpose()
}

/// `pond price`.
///
/// # Errors
/// No pool, not an amount, or a refusal.
pub fn price(ctx: &Ctx, verb: PriceVerb) -> Done {
    let client = ctx.client()?;
    match verb {
        PriceVerb::Show { all } => sheet(ctx, &client.get("/prices", &PricesQuery { all })?),
        PriceVerb::Set(flags) => sheet(ctx, &client.post("/prices", &body(*flags)?)?),
        PriceVerb::End { id } => {
            client.delete(&format!("/prices/{id}"))?;
            ctx.out.said(&format!("price {id}: ended"))?;
            Ok(codes::OK)
        }
    }
}

fn body(flags: PriceFlags) -> Result<PricesBody, CliError> {
    let mut body = match &flags.file {
        Some(file) => read_file(file)?,
        None => PricesBody::default(),
    };
    body.currency = flags.currency.or(body.currency);
    if let (Some(resource), Some(price)) = (flags.resource, flags.price) {
        let class = flags.class.map(|class| match class {
            PriceClass::Critical => Class::Critical,
            PriceClass::Standard => Class::Standard,
            PriceClass::Spare => Class::Spare,
        });
        let (from_ms, to_ms) = (whens(flags.from.as_ref())?, whens(flags.to.as_ref())?);
        body.prices.push(PriceBody {
            resource,
            model: flags.model,
            class,
            micros: micros(&price)?,
            from_ms,
            to_ms,
        });
    }
    Ok(body)
}

/// A file of prices.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    currency: Option<String>,
    prices: Vec<PriceLine>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceLine {
    resource: String,
    model: Option<String>,
    class: Option<Class>,
    price: Written,
    from: Option<String>,
    to: Option<String>,
}

/// A number as it is written.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Written {
    Whole(u64),
    Decimal(f64),
    Text(String),
}

impl Written {
    fn micros(&self) -> Result<u64, CliError> {
        match self {
            Self::Whole(whole) => micros(&whole.to_string()),
            // The shortest text that reads back as the same number is what was written.
            Self::Decimal(number) => micros(&number.to_string()),
            Self::Text(text) => micros(text),
        }
    }
}

fn read_file(path: &std::path::Path) -> Result<PricesBody, CliError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|why| CliError::usage(format!("{shown}: {why}")))?;
    prices_of(&shown, &text)
}

fn prices_of(shown: &str, text: &str) -> Result<PricesBody, CliError> {
    let file: PriceFile = serde_saphyr::from_str(text).map_err(|why| CliError::Usage {
        what: format!("{shown}: {}", why.without_snippet()),
        next: Some("see `Prices` in docs/money.md".to_owned()),
    })?;
    let line = |line: &PriceLine| {
        Ok(PriceBody {
            resource: line.resource.clone(),
            model: line.model.clone(),
            class: line.class,
            micros: line.price.micros()?,
            from_ms: whens(line.from.as_ref())?,
            to_ms: whens(line.to.as_ref())?,
        })
    };
    let numbered = |(number, it): (usize, &PriceLine)| {
        line(it).map_err(|why: CliError| CliError::Usage {
            what: format!("{shown}: price {}: {why}", number + 1),
            next: why.next(),
        })
    };
    let prices = file.prices.iter().enumerate().map(numbered).collect::<Result<_, CliError>>()?;
    Ok(PricesBody { currency: file.currency, prices })
}

fn sheet(ctx: &Ctx, view: &PricesView) -> Done {
    if ctx.out.format.is_data() {
        ctx.out.value(view)?;
        return Ok(codes::OK);
    }
    if view.prices.is_empty() {
        ctx.out.line("no prices are set; `pond price set gpu 2.10 --currency EUR` sets one")?;
        return Ok(codes::OK);
    }
    let mut table = Table::new(vec![
        Column::right("ID"),
        Column::left("RESOURCE"),
        Column::left("MODEL"),
        Column::left("CLASS"),
        Column::right("PRICE"),
        Column::left("PER"),
        Column::left("FROM"),
        Column::left("TO"),
        Column::left("NOW"),
    ]);
    for price in &view.prices {
        table.row(price_row(price, &view.currency));
    }
    ctx.out.table(&table)?;
    Ok(codes::OK)
}

fn price_row(price: &PriceView, currency: &str) -> Vec<Cell> {
    let class = price.class.map(|class| format!("{class:?}").to_lowercase());
    vec![
        price.id.into(),
        (&price.resource).into(),
        price.model.as_ref().into(),
        class.into(),
        format!("{} {currency}", money(price.micros)).into(),
        (&price.unit).into(),
        moment(price.from_ms).into(),
        price.to_ms.map(moment).into(),
        match price.replaced_by {
            Some(later) => format!("{later} counts").into(),
            None => if price.holds { "holds" } else { "" }.into(),
        },
    ]
}

/// `pond budget`.
///
/// # Errors
/// No pool, not an amount, or a refusal.
pub fn budget(ctx: &Ctx, verb: BudgetVerb) -> Done {
    let client = ctx.client()?;
    match verb {
        BudgetVerb::Ls => {
            let budgets: Vec<BudgetView> = client.get("/budgets", &())?;
            shown(ctx, &budgets)
        }
        BudgetVerb::Set { queue, limit, every, alerts, stop } => {
            let body = BudgetBody {
                limit_micros: micros(&limit)?,
                span: match every {
                    BudgetEvery::Day => BudgetSpan::Day,
                    BudgetEvery::Week => BudgetSpan::Week,
                    BudgetEvery::Month => BudgetSpan::Month,
                    BudgetEvery::Total => BudgetSpan::Total,
                },
                alerts,
                stop: match stop {
                    BudgetStops::Never => BudgetStop::Never,
                    BudgetStops::Hold => BudgetStop::Hold,
                    BudgetStops::End => BudgetStop::End,
                },
            };
            let view: BudgetView = client.put(&budget_path(&queue), &body)?;
            shown(ctx, &[view])
        }
        BudgetVerb::Rm { queue } => {
            client.delete(&budget_path(&queue))?;
            ctx.out.said(&format!("{queue}: no budget any more"))?;
            Ok(codes::OK)
        }
    }
}

fn budget_path(queue: &str) -> String {
    let parts: Vec<String> = queue.trim_matches('/').split('/').map(encode).collect();
    match parts.join("/").as_str() {
        "" => "/budgets/%2F".to_owned(),
        path => format!("/budgets/{path}"),
    }
}

fn shown(ctx: &Ctx, budgets: &[BudgetView]) -> Done {
    if ctx.out.format.is_data() {
        ctx.out.value(&budgets)?;
        return Ok(codes::OK);
    }
    if budgets.is_empty() {
        ctx.out.line("no budgets are set; `pond budget set QUEUE LIMIT` sets one")?;
        return Ok(codes::OK);
    }
    let mut table = Table::new(vec![
        Column::left("QUEUE"),
        Column::right("SPENT"),
        Column::right("OF"),
        Column::left("CURRENCY"),
        Column::right("PERCENT"),
        Column::left("EVERY"),
        Column::left("STOP"),
        Column::left("UNTIL"),
        Column::left("STATE"),
    ]);
    for budget in budgets {
        let state = if budget.blocks { ("spent: jobs wait", Style::Red) } else { ("", Style::Plain) };
        table.row(vec![
            if budget.queue.is_empty() { "/".into() } else { (&budget.queue).into() },
            money(budget.spent_micros).into(),
            money(budget.limit_micros).into(),
            (&budget.currency).into(),
            budget.percent.map(|percent| format!("{percent} %")).into(),
            format!("{:?}", budget.span).to_lowercase().into(),
            format!("{:?}", budget.stop).to_lowercase().into(),
            budget.to_ms.map(moment).into(),
            Cell::styled(state.1, state.0),
        ]);
    }
    ctx.out.table(&table)?;
    Ok(codes::OK)
}

/// `pond bill`.
///
/// # Errors
/// No pool, or it refuses.
pub fn bill(ctx: &Ctx, args: &BillArgs) -> Done {
    let client = ctx.client()?;
    let (from_ms, to_ms) = range(args)?;
    let (queue, user, job) = (args.queue.clone(), args.user.clone(), args.job);
    if let Some(form) = args.lines {
        let format = match form {
            LedgerForm::Json => LedgerFormat::Json,
            LedgerForm::Csv => LedgerFormat::Csv,
            LedgerForm::Focus => LedgerFormat::Focus,
        };
        let query = LedgerQuery { format, from_ms, to_ms, queue, user, job, open: args.open };
        let mut lines = client.stream("/ledger", &query, &[])?;
        let mut piece = vec![0; 1 << 16];
        loop {
            let got = lines
                .read(&mut piece)
                .map_err(|why| CliError::usage(format!("the ledger breaks off: {why}")))?;
            if got == 0 {
                return Ok(codes::OK);
            }
            ctx.out.bytes(&piece[..got])?;
        }
    }
    let by = match args.by {
        BillKey::Queue => BillBy::Queue,
        BillKey::User => BillBy::User,
        BillKey::Job => BillBy::Job,
        BillKey::Class => BillBy::Class,
        BillKey::Resource => BillBy::Resource,
        BillKey::Day => BillBy::Day,
        BillKey::Month => BillBy::Month,
    };
    let query = BillQuery { by, from_ms, to_ms, queue, user, job, split_idle: args.split_idle };
    let report: BillReport = client.get("/bill", &query)?;
    if report.rows.is_empty() {
        must_be_there(&client, query.queue.as_ref())?;
    }
    if ctx.out.format.is_data() {
        ctx.out.value(&report)?
    } else {
        print(ctx, &report, from_ms.is_some() || to_ms.is_some())?
    }
    Ok(codes::OK)
}

/// The time that is asked about, in the words of the flags when it cannot be.
fn range(args: &BillArgs) -> Result<(Option<u64>, Option<u64>), CliError> {
    let (from_ms, to_ms) = (whens(args.from.as_ref())?, whens(args.to.as_ref())?);
    let now = Timestamp(now_ms());
    let month = Span::Month.start(now).0;
    let (what, next) = match (from_ms, to_ms) {
        (Some(from), _) if from > now.0 => (
            format!("`--from`: {} is in the future, of which nothing is kept", moment(from)),
            "give a moment that is past",
        ),
        (Some(from), Some(to)) if from > to => {
            (format!("`--to`: {} is before `--from`, {}", moment(to), moment(from)), "give a moment after it")
        }
        (None, Some(to)) if to < month => (
            format!("`--to`: {} is before this month, where a bill begins without `--from`", moment(to)),
            "give `--from` as well",
        ),
        _ => return Ok((from_ms, to_ms)),
    };
    Err(CliError::Usage { what, next: Some(next.to_owned()) })
}

/// `bounded`: a time was asked for.
fn print(ctx: &Ctx, report: &BillReport, bounded: bool) -> Result<(), CliError> {
    let asked = (report.from_ms, report.to_ms);
    let summed = report.summed_from_ms.zip(report.summed_to_ms);
    let span = |(from, to)| format!("{} to {}", moment(from), moment(to));
    let dim = |text: &str| ctx.out.line(&ctx.out.paint(Style::Dim, text));
    dim(&format!("{}, in {}", span(summed.unwrap_or(asked)), report.currency))?;
    match summed {
        None => dim(
            "no period of the ledger began in that time; one begins with the hour in UTC, and with a price",
        )?,
        Some(summed) if bounded && summed != asked => dim(&format!(
            "asked for {}: periods that began in that time, each whole; one ends with the hour in UTC, and where a price begins or ends",
            span(asked)
        ))?,
        Some(_) => {}
    }
    let mut columns = vec![
        Column::left("BY"),
        Column::right("CHARGE"),
        Column::right("OF IT WASTE"),
        Column::right("OF IT SPARE").wide(),
        Column::right("CREDIT"),
        Column::right("NET"),
    ];
    if report.total.idle_micros.is_some() {
        columns.push(Column::right("IDLE"));
    }
    columns.extend([Column::right("CORE-H"), Column::right("GIB-H"), Column::right("DEVICE-H")]);
    let mut table = Table::new(columns);
    let rows = || report.rows.iter().chain([&report.total]);
    let places = rows().flat_map(amounts).map(pond_core::money::places).max().unwrap_or(2);
    for row in rows() {
        table.row(cells(row, places));
    }
    ctx.out.table(&table)?;
    ctx.out.line("")?;
    ctx.out.table(&machines(report))
}

/// Unit-hours to three decimals.
fn hours(micro_hours: u64) -> String {
    format!("{}.{:03}", micro_hours / pond_core::money::MICROS, micro_hours % pond_core::money::MICROS / 1000)
}

/// All that a row has of money.
fn amounts(row: &BillRow) -> Vec<i128> {
    let mut all: Vec<i128> =
        [row.charge_micros, row.waste_micros, row.charge_spare_micros, row.credit_micros]
            .map(i128::from)
            .into();
    all.push(row.net_micros.into());
    all.extend(row.idle_micros.map(i128::from));
    all
}

/// `places`: digits behind the point of all amounts, so that they can be compared.
fn cells(row: &BillRow, places: usize) -> Vec<Cell> {
    let of = |wanted: fn(&BillAmount) -> bool| {
        hours(row.amounts.iter().filter(|it| wanted(it)).map(|it| it.charged_micro_hours).sum())
    };
    let mut cells: Vec<Cell> = vec![(&row.key).into()];
    cells.extend(amounts(row).into_iter().map(|it| pond_core::money::decimal_to(it, places).into()));
    cells.extend([
        of(|it| it.resource == "cpu").into(),
        of(|it| it.resource == "memory").into(),
        of(|it| it.unit == "device-hour").into(),
    ]);
    cells
}

/// What became of the machines: `capacity = granted + idle + planned + down`.
fn machines(report: &BillReport) -> Table {
    let mut table = Table::new(vec![
        Column::left("POOL"),
        Column::left("UNIT"),
        Column::right("CAPACITY"),
        Column::right("= GRANTED"),
        Column::right("+ IDLE"),
        Column::right("+ PLANNED"),
        Column::right("+ DOWN"),
        Column::right("IDLE WORTH"),
    ]);
    for line in &report.pool {
        let name = line
            .model
            .as_ref()
            .map_or_else(|| line.resource.clone(), |model| format!("{} {model}", line.resource));
        table.row(vec![
            name.into(),
            (&line.unit).into(),
            hours(line.capacity_micro_hours).into(),
            hours(line.granted_micro_hours).into(),
            hours(line.idle_micro_hours).into(),
            hours(line.planned_micro_hours).into(),
            hours(line.down_micro_hours).into(),
            money(line.idle_micros).into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_prices_reads_numbers_as_they_are_written() {
        let text = "currency: EUR\nprices:\n- {resource: gpu, model: H100, price: 2.10}\n- {resource: cpu, price: '0.012345'}\n- {resource: disk, class: spare, price: 1}\n";
        let file: PriceFile = serde_saphyr::from_str(text).unwrap();
        let read: Vec<u64> = file.prices.iter().map(|line| line.price.micros().unwrap()).collect();
        assert_eq!(read, [2_100_000, 12_345, 1_000_000]);
        assert!(serde_saphyr::from_str::<PriceFile>("prices: [{resource: gpu, prize: 2}]").is_err());
    }

    #[test]
    fn what_is_wrong_with_a_file_of_prices_is_said_once_with_its_name() {
        let said = |text: &str| prices_of("p.yaml", text).unwrap_err().to_string();
        let unknown = said("prices:\n- {resource: gpu, prize: 2}\n");
        assert!(unknown.starts_with("p.yaml: ") && unknown.contains("line 2"), "{unknown}");
        assert!(!unknown.contains("error:") && !unknown.contains("<input>"), "{unknown}");
        assert_eq!(unknown.lines().count(), 1, "{unknown}");
        let amount = said("prices:\n- {resource: gpu, price: 2}\n- {resource: gpu, price: two}\n");
        assert_eq!(amount, "p.yaml: price 2: `two` is not an amount of money");
    }

    #[test]
    fn the_pools_budget_has_a_path_of_its_own() {
        assert_eq!(budget_path("/"), "/budgets/%2F");
        assert_eq!(budget_path("research/nlp"), "/budgets/research/nlp");
    }
}
