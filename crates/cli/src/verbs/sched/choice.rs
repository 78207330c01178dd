//! `pond sched show` and `pond sched set`: how the pool decides.

use crate::args::SetPolicyArgs;
use crate::error::{CliError, Done, codes};
use crate::out::clean;
use crate::verbs::Ctx;
use pond_core::plan::named::{ALL, by_name};
use pond_core::snapshot::{PlacementPolicy, Settings};
use pond_core::units::Millis;
use pond_server::api::types::{SchedulerBody, SchedulerView};
use serde_json::Value;

/// `pond sched show`.
///
/// # Errors
/// No pool, or one that does not answer.
pub fn show(ctx: &Ctx) -> Done {
    let view: SchedulerView = ctx.client()?.get("/scheduler", &())?;
    present(ctx, &view)
}

/// `pond sched set`.
///
/// # Errors
/// No policy has this name, the pool refuses, or none answers.
pub fn set(ctx: &Ctx, args: &SetPolicyArgs) -> Done {
    if let Some(policy) = &args.policy {
        _ = by_name(policy).map_err(|why| super::policies::unknown(&why))?;
    }
    if !args.reset && args.policy.is_none() && args.placement.is_none() {
        return Err(CliError::Usage {
            what: "nothing is to be set".to_owned(),
            next: Some("name a policy, --placement, or --reset".to_owned()),
        });
    }
    let placement = args.placement.as_deref().map(placement).transpose()?;
    let body = SchedulerBody { policy: args.policy.clone(), placement };
    let view: SchedulerView = ctx.client()?.put("/scheduler", &body)?;
    present(ctx, &view)
}

/// The word of a placement policy as the API takes it.
///
/// # Errors
/// There is none of that name.
pub fn placement(word: &str) -> Result<String, CliError> {
    let word = word.replace('-', "_");
    let known: Vec<String> =
        PlacementPolicy::ALL.iter().map(|policy| text(&serde_json::json!(policy))).collect();
    if known.contains(&word) {
        return Ok(word);
    }
    Err(CliError::Usage {
        what: format!("no placement policy is called `{}`", clean(&word.replace('_', "-"))),
        next: Some(format!("take one of {}", known.join(", ").replace('_', "-"))),
    })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn present(ctx: &Ctx, view: &SchedulerView) -> Done {
    if ctx.out.format.is_data() {
        ctx.out.value(view)?;
        return Ok(codes::OK);
    }
    let setting = |name: &str| text(&view.settings[name]);
    let name = view.policy.as_deref().unwrap_or("fair");
    let bare = name.split('+').next().unwrap_or(name);
    let what = ALL.iter().find(|named| named.name == bare).map_or("", |named| named.what);
    let from = if view.policy.is_some() { "" } else { " (as the pool was started)" };
    let line = |label: &str, value: &str| ctx.out.line(&format!("{label:<13}{value}"));
    line("policy", &format!("{}{from}: {what}", clean(name)))?;
    line("passing", &setting("backfill"))?;
    line("placement", &setting("placement"))?;
    if let Ok(settings) = serde_json::from_value::<Settings>(view.settings.clone()) {
        let many = settings.most_reservations();
        line(
            "kept places",
            &if many == u32::MAX { "for everybody who waits".to_owned() } else { many.to_string() },
        )?;
        line("calm", &format!("{} after an eviction", settings.calm))?;
    }
    line("plans", &format!("{}, {} of them broke a rule", view.plans, view.violations))?;
    let starts = &view.forecasts;
    let within = starts.median_error_ms.map(|ms| format!(", half of them right within {}", Millis(ms)));
    line("starts", &format!("{} forecasts came out{}", starts.compared, within.unwrap_or_default()))?;
    let runs = &view.predictions;
    let within = runs.median_error_percent.map(|percent| format!(", half of them right within {percent} %"));
    line("run times", &format!("{} predictions came out{}", runs.compared, within.unwrap_or_default()))?;
    Ok(codes::OK)
}
