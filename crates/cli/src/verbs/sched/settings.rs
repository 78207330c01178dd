//! From flags to the simulator's settings; any setting can be reached by its name.

use crate::args::SimArgs;
use crate::error::CliError;
use pond_core::plan::named::Named;
use pond_core::units::Millis;
use pond_sim::simulator::{Breakdown, Lifetime, OutOfRange, SimSettings};
use pond_sim::trace::time::read_thousandths;
use serde_json::Value;

/// The settings that flags ask for, without a policy.
///
/// # Errors
/// A flag says something that no setting can be.
pub fn settings(args: &SimArgs) -> Result<SimSettings, CliError> {
    let mut settings = SimSettings { seed: args.seed, ..SimSettings::default() };
    if let Some(name) = &args.placement {
        settings = set(&settings, &format!("plan.placement={}", super::choice::placement(name)?))?;
    }
    if let Some(factor) = &args.overhead {
        settings.restart.factor = factor_milli("--overhead", factor)?;
    }
    for fault in &args.faults {
        read_fault(&mut settings, fault)?;
    }
    Ok(settings)
}

/// `--set` last, so that it has the last word over flags and policies.
///
/// # Errors
/// There is no such setting, it cannot be that, or it is outside its range.
pub fn overridden(mut settings: SimSettings, args: &SimArgs) -> Result<SimSettings, CliError> {
    for assignment in &args.set {
        settings = set(&settings, assignment)?;
    }
    in_range(settings)
}

/// The settings, if all of them are in their ranges.
///
/// # Errors
/// One is not.
pub fn in_range(settings: SimSettings) -> Result<SimSettings, CliError> {
    match settings.in_range() {
        Ok(()) => Ok(settings),
        Err(OutOfRange { name, value, range }) => {
            let short = name.strip_prefix("engine.").unwrap_or(name);
            let flag = if name == "restart.factor" { "; --overhead 1 is 1000 of it" } else { "" };
            Err(CliError::Usage {
                what: format!("`{short}` cannot be {value}"),
                next: Some(format!("it is {range}{flag}")),
            })
        }
    }
}

/// A factor as thousandths.
///
/// # Errors
/// Not a number of 0 or more.
pub fn factor_milli(flag: &str, text: &str) -> Result<u64, CliError> {
    read_thousandths(text).and_then(|milli| u64::try_from(milli).ok()).ok_or_else(|| CliError::Usage {
        what: format!("{flag}: `{text}` is not a factor"),
        next: Some("write a number such as 1.2".to_owned()),
    })
}

/// The shortest mean time between faults of one machine or device.
const SOONEST: Millis = Millis(1000);

fn read_fault(settings: &mut SimSettings, text: &str) -> Result<(), CliError> {
    let wrong = || {
        CliError::Usage {
        what: format!("--faults: `{text}` is not a kind of fault with two spans"),
        next: Some(
            "write nodes=MEAN/REPAIR or devices=MEAN/REPAIR, for example nodes=30d/4h; more by --set faults.…"
                .to_owned(),
        ),
    }
    };
    let (kind, spans) = text.split_once('=').ok_or_else(wrong)?;
    let (between, repair) = spans.split_once('/').ok_or_else(wrong)?;
    let lifetime = |text: &str| {
        text.parse::<Millis>().map(|scale| Lifetime { scale, shape: 1000 }).map_err(|_why| wrong())
    };
    let breakdown = Breakdown { between: lifetime(between)?, repair: lifetime(repair)? };
    if breakdown.between.scale < SOONEST {
        return Err(CliError::Usage {
            what: format!(
                "--faults: `{text}`: faults {} apart leave no time for anything else",
                breakdown.between.scale
            ),
            next: Some(format!("let them be {SOONEST} apart or more")),
        });
    }
    let kind = kind.trim();
    let place = match kind {
        "nodes" => &mut settings.faults.nodes,
        "devices" => &mut settings.faults.devices,
        _ => return Err(wrong()),
    };
    if place.replace(breakdown).is_some() {
        return Err(CliError::Usage {
            what: format!("--faults: {kind} are given twice"),
            next: Some(format!("leave one of the two out; {kind} have one mean and one time to repair")),
        });
    }
    Ok(())
}

/// The settings with one of them changed: `plan.calm=10s`. `plan` stands for `engine.plan`.
///
/// # Errors
/// There is no such setting, or it cannot be that.
pub fn set(settings: &SimSettings, assignment: &str) -> Result<SimSettings, CliError> {
    let Some((name, text)) = assignment.split_once('=') else {
        return Err(CliError::Usage {
            what: format!("--set: `{assignment}` has no `=`"),
            next: Some("write --set NAME=VALUE, for example --set plan.calm=10s".to_owned()),
        });
    };
    let (name, text) = (name.trim(), text.trim());
    let full =
        if name == "plan" || name.starts_with("plan.") { format!("engine.{name}") } else { name.to_owned() };
    let defect = |why: serde_json::Error| CliError::usage(format!("the settings cannot be written: {why}"));
    let mut whole = serde_json::to_value(settings).map_err(defect)?;
    let mut place = &mut whole;
    for part in full.split('.') {
        let known: Vec<String> =
            place.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
        place = place.get_mut(part).ok_or_else(|| CliError::Usage {
            what: format!("there is no setting `{name}` (`{part}` is not known)"),
            next: (!known.is_empty()).then(|| format!("known there: {}", known.join(", "))),
        })?;
    }
    *place = value(place, text);
    serde_json::from_value(whole).map_err(|why| CliError::Usage {
        what: format!("`{name}` cannot be `{text}`: {why}"),
        next: Some(
            "spans are written 10s, 5m, 2h; other amounts as whole numbers; words as they are".to_owned(),
        ),
    })
}

/// What a text means where `now` stands: JSON if it is JSON, a span in milliseconds where a number is, a word otherwise.
fn value(now: &Value, text: &str) -> Value {
    if let Ok(value) = serde_json::from_str(text) {
        return value;
    }
    match text.parse::<Millis>() {
        Ok(span) if now.is_number() || now.is_null() => Value::from(span.0),
        _ => Value::from(text),
    }
}

/// The settings under each policy; `stays` keeps who was where, which plots of nodes need.
///
/// # Errors
/// As [`settings`] and [`overridden`].
pub fn of_each(
    policies: &[(String, Named)],
    sim: &SimArgs,
    stays: bool,
) -> Result<Vec<SimSettings>, CliError> {
    let base = settings(sim)?;
    let each = policies.iter().map(|(_, policy)| {
        let mut settings = SimSettings { stays, ..base.clone() };
        policy.apply(&mut settings.engine.plan);
        overridden(settings, sim)
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pond_core::snapshot::{Backfill, PlacementPolicy};

    #[test]
    fn settings_are_reached_by_name() {
        let mut settings = SimSettings::default();
        for assignment in [
            "plan.calm=10s",
            "plan.backfill=easy",
            "engine.plan.placement=spread",
            "plan.ranking.base=8",
            "horizon=2d",
            "preemptible=false",
        ] {
            settings = set(&settings, assignment).unwrap();
        }
        let plan = &settings.engine.plan;
        assert_eq!((plan.calm, plan.backfill, plan.ranking.base), (Millis(10_000), Backfill::Easy, 8));
        assert_eq!(plan.placement, PlacementPolicy::Spread);
        assert_eq!(settings.horizon.map(|at| at.0), Some(172_800_000));
        assert!(!settings.preemptible);
    }

    #[test]
    fn what_is_no_setting_is_said_with_what_there_is() {
        let why = set(&SimSettings::default(), "plan.clam=10s").unwrap_err();
        assert_eq!(why.to_string(), "there is no setting `plan.clam` (`clam` is not known)");
        assert!(why.next().unwrap().contains("calm"));
        let why = set(&SimSettings::default(), "plan.backfill=often").unwrap_err();
        assert!(why.to_string().starts_with("`plan.backfill` cannot be `often`: unknown variant"), "{why}");
        assert!(set(&SimSettings::default(), "plan.calm").unwrap_err().to_string().contains("has no `=`"));
    }

    #[test]
    fn faults_read() {
        let mut settings = SimSettings::default();
        read_fault(&mut settings, "nodes=30d/4h").unwrap();
        let nodes = settings.faults.nodes.unwrap();
        assert_eq!((nodes.between.scale, nodes.repair.scale), (Millis(2_592_000_000), Millis(14_400_000)));
        assert!(read_fault(&mut settings, "disks=1d/1h").is_err());
        assert!(read_fault(&mut settings, "nodes=1d").is_err());
        let why = read_fault(&mut settings, "nodes=0s/1h").unwrap_err();
        assert_eq!(why.next().unwrap(), "let them be 1s apart or more");
    }
}
