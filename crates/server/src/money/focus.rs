//! Columns of FOCUS 1.4, Cost and Usage (FinOps Open Cost and Usage Specification, focus.finops.org).
//!
//! A line of the ledger becomes up to three rows: what is charged at the class's price, what is charged at the price of
//! `spare`, and what is given back (a credit). A project is a sub account; a job is a resource; a month is an invoice.
//! Commitments, reservations, regions and negotiated prices do not exist here: their columns that must be there are empty,
//! the others are left out.

use super::export::row;
use super::{decimal, named};
use crate::web::stamp;
use pond_core::model::Class;
use pond_core::money::{Entry, Period, Resource, Span};

const COLUMNS: [&str; 52] = [
    "AllocatedMethodDetails",
    "AllocatedMethodId",
    "AllocatedResourceId",
    "AllocatedResourceName",
    "AllocatedTags",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountStatus",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "HostProviderName",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
];

/// The first line.
pub(super) fn head() -> String {
    let mut text = String::new();
    row(&mut text, &COLUMNS.map(str::to_owned));
    text
}

/// One charge.
struct Charge<'a> {
    period: &'a Period,
    entry: &'a Entry,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// At the price of the job's class.
    Class,
    /// At the price of `spare`.
    Spare,
    /// Given back.
    Credit,
}

/// The rows of one line of the ledger.
pub(super) fn rows(text: &mut String, period: &Period, entry: &Entry) {
    let charge = |kind| Charge { period, entry, kind };
    if entry.sums.base > 0 || entry.charge > entry.charge_spare {
        charge(Kind::Class).write(text);
    }
    if entry.sums.spare > 0 || entry.charge_spare > 0 {
        charge(Kind::Spare).write(text);
    }
    if entry.credit > 0 {
        charge(Kind::Credit).write(text);
    }
}

impl Charge<'_> {
    fn write(&self, text: &mut String) {
        row(text, &COLUMNS.map(|column| self.cell(column)));
    }

    fn micros(&self) -> i128 {
        match self.kind {
            Kind::Class => i128::from(self.entry.charge - self.entry.charge_spare),
            Kind::Spare => i128::from(self.entry.charge_spare),
            Kind::Credit => -i128::from(self.entry.credit),
        }
    }

    /// Amount and price; a credit has neither.
    fn priced(&self) -> Option<(u128, u64)> {
        match self.kind {
            Kind::Class => Some((self.entry.sums.base, self.entry.rates.class)),
            Kind::Spare => Some((self.entry.sums.spare, self.entry.rates.spare)),
            Kind::Credit => None,
        }
    }

    /// The price that was used, by name.
    fn sku(&self) -> String {
        let (name, model, _) = named(&self.entry.resource);
        let words = model.map(|model| model.to_lowercase().replace(' ', "-"));
        words.map_or_else(|| name.clone(), |words| format!("{name}-{words}"))
    }

    fn cell(&self, column: &str) -> String {
        let Self { period, entry, kind } = self;
        let (name, _, unit) = named(&entry.resource);
        let class = crate::pool::view::word(&if *kind == Kind::Spare { Class::Spare } else { entry.class });
        let quantity = || self.priced().map(|(amount, _)| hours(&entry.resource, amount)).unwrap_or_default();
        let price = || self.priced().map(|(_, price)| decimal(price.into())).unwrap_or_default();
        let charged = self.priced().is_some();
        match column {
            "BilledCost" | "EffectiveCost" | "ContractedCost" | "ListCost" | "PricingCurrencyEffectiveCost" => decimal(self.micros()),
            "BillingAccountId" => "pool".to_owned(),
            "BillingAccountName" | "ServiceProviderName" | "HostProviderName" | "InvoiceIssuerName"
            | "ProviderName" | "PublisherName" => "Millpond".to_owned(),
            "BillingAccountType" => "Pool".to_owned(),
            "BillingCurrency" | "PricingCurrency" => period.currency.clone(),
            "InvoiceId" => format!("pool-{}", &stamp(period.from.0)[..7]),
            "ServiceName" => service(&entry.resource).0.to_owned(),
            "BillingPeriodStart" => stamp(Span::Month.start(period.from).0),
            "BillingPeriodEnd" => stamp(Span::Month.end(period.from).0),
            "ChargeCategory" => if charged { "Usage" } else { "Credit" }.to_owned(),
            "ChargeDescription" => match kind {
                Kind::Credit => format!("{name} of job {}: work the pool lost", entry.job),
                _ => format!("{name} of job {} at the price of {class}", entry.job),
            },
            "ChargeFrequency" => if charged { "Usage-Based" } else { "One-Time" }.to_owned(),
            "ChargePeriodStart" => stamp(period.from.0),
            "ChargePeriodEnd" => stamp(period.to.0),
            "ConsumedQuantity" | "PricingQuantity" => quantity(),
            "ConsumedUnit" | "PricingUnit" if charged => unit_of(unit),
            "ContractedUnitPrice" | "ListUnitPrice" | "PricingCurrencyContractedUnitPrice" | "PricingCurrencyListUnitPrice" => price(),
            "PricingCategory" if charged && class == "spare" => "Dynamic".to_owned(),
            "PricingCategory" if charged => "Standard".to_owned(),
            "ResourceId" => format!("job-{}", entry.job),
            "ResourceName" => format!("job {}", entry.job),
            "ResourceType" => "Job".to_owned(),
            "ServiceCategory" => service(&entry.resource).1.to_owned(),
            "ServiceSubcategory" => service(&entry.resource).2.to_owned(),
            "SkuId" if charged => self.sku(),
            "SkuMeter" if charged => name,
            "SkuPriceId" if charged => format!("{}/{class}", self.sku()),
            "SubAccountId" | "SubAccountName" => match entry.queue.as_str() {
                "" => "/".to_owned(),
                queue => queue.to_owned(),
            },
            "Tags" => serde_json::json!({ "user": entry.user.as_str(), "class": crate::pool::view::word(&entry.class) })
                .to_string(),
            _ => String::new(),
        }
    }
}

/// Service, its category and its part of that: one of each for a service.
const fn service(resource: &Resource) -> (&'static str, &'static str, &'static str) {
    match resource {
        Resource::Cpu | Resource::Memory => ("Compute", "Compute", "Other (Compute)"),
        Resource::Disk => ("Scratch disk", "Storage", "Other (Storage)"),
        Resource::Device { .. } => {
            ("Accelerators", "AI and Machine Learning", "Other (AI and Machine Learning)")
        }
    }
}

/// Units as FOCUS writes them: `Core-Hours`.
fn unit_of(unit: &str) -> String {
    match unit {
        "core-hour" => "Core-Hours",
        "GiB-hour" => "GiB-Hours",
        _ => "Device-Hours",
    }
    .to_owned()
}

/// Unit-hours with twelve decimals, rounded down.
fn hours(resource: &Resource, amount: u128) -> String {
    const DECIMALS: u128 = 1_000_000_000_000;
    let unit = resource.unit_hour();
    let (whole, rest) = (amount / unit, amount % unit * DECIMALS / unit);
    let digits = format!("{rest:012}");
    let short = digits.trim_end_matches('0');
    format!("{whole}.{short:0<1}")
}
