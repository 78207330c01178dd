//! What `sacct --json` prints: an object with the list `jobs`. Numbers are plain, or, since Slurm 23.02, objects that say whether
//! they are set; a state is a word, or, since 23.11, a list that begins with it.

use super::lines::read_objects;
use super::slurm::{Amounts, SlurmJob, waits_again};
use super::table::malformed;
use super::{BadRowReason, Reading, not_json, read_ending};
use serde::{Deserialize, Deserializer};
use std::io::Read;

/// A number that may not be set, or be without end; then there is none.
#[derive(Clone, Copy, Debug, Default)]
struct Number(Option<u64>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Plain(u64),
    Below(i64),
    Told {
        #[serde(default)]
        set: bool,
        #[serde(default)]
        infinite: bool,
        #[serde(default)]
        number: f64,
    },
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<Form>::deserialize(input)?.and_then(|form| match form {
            // The largest numbers of 32 bits, and of 64, stand for none and for no end.
            Form::Plain(0xffff_fffe | 0xffff_ffff | 0xffff_ffff_ffff_fffe..) => None,
            Form::Plain(number) => Some(number),
            Form::Below(number) => u64::try_from(number).ok(),
            // Above 2^53 a float no longer counts one by one.
            Form::Told { set, infinite, number } => {
                (set && !infinite && (0.0..9.0e15).contains(&number)).then_some(number as u64)
            }
        })))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct State {
    current: Word,
}

#[derive(Deserialize)]
struct Times {
    #[serde(default)]
    elapsed: Number,
    #[serde(default)]
    submission: Number,
    #[serde(default)]
    start: Number,
    /// In minutes.
    #[serde(default)]
    limit: Number,
}

#[derive(Deserialize)]
struct Amount {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    count: Number,
}

#[derive(Default, Deserialize)]
struct Tres {
    #[serde(default)]
    allocated: Vec<Amount>,
    #[serde(default)]
    requested: Vec<Amount>,
}

#[derive(Deserialize)]
struct Entry {
    job_id: u64,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    partition: Option<String>,
    state: State,
    time: Times,
    #[serde(default)]
    allocation_nodes: Number,
    #[serde(default)]
    tres: Tres,
}

/// Reads the jobs; steps are inside them, and not looked at.
pub(super) fn jobs_of(input: impl Read) -> Reading<SlurmJob> {
    read_objects(input, Some("jobs"), |text| {
        serde_json::from_str(text).map_err(|why| not_json(&why)).and_then(read_job)
    })
}

fn read_job(entry: Entry) -> Result<SlurmJob, BadRowReason> {
    let words = match entry.state.current {
        Word::One(word) => vec![word],
        Word::Several(words) => words,
    };
    let (ending, strange) = read_ending(words.first().map_or("", String::as_str));
    let amounts = read_amounts(&entry.tres)?;
    let nodes = entry.allocation_nodes.0.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    let thousand_fold = |number: Number, factor: u64| number.0.map(|number| number.saturating_mul(factor));
    // 0 is no moment.
    let moment =
        |at: Number| thousand_fold(at, 1000).filter(|&at| at > 0).and_then(|at| i64::try_from(at).ok());
    Ok(SlurmJob {
        id: entry.job_id,
        user: entry.user.unwrap_or_default(),
        account: entry.account.unwrap_or_default(),
        partition: entry.partition.unwrap_or_default(),
        submit_ms: moment(entry.time.submission),
        start_ms: moment(entry.time.start),
        duration_ms: thousand_fold(entry.time.elapsed, 1000),
        limit_ms: thousand_fold(entry.time.limit, 60_000).filter(|&limit| limit > 0),
        ending,
        strange,
        // Behind the state stand its flags, `REQUEUED` among them.
        again: words.iter().any(|word| waits_again(word)),
        nodes: nodes.max(amounts.nodes).max(1),
        cpus: amounts.cpus,
        gpus: amounts.gpus,
        model: amounts.model,
        memory: amounts.memory,
    })
}

/// What was allocated, or asked for where nothing was.
fn read_amounts(tres: &Tres) -> Result<Amounts, BadRowReason> {
    let mut amounts = Amounts::default();
    let told = if tres.allocated.is_empty() { &tres.requested } else { &tres.allocated };
    for amount in told {
        let Some(count) = amount.count.0 else { continue };
        let name = match amount.name.as_deref() {
            None | Some("") => amount.kind.clone(),
            Some(name) => format!("{}/{name}", amount.kind),
        };
        // Memory is in MiB, as it is where `AllocTRES` has no unit.
        if amounts.take(&name, &count.to_string()).is_none() {
            return Err(malformed("tres", &format!("{name}={count}"), "an amount"));
        }
    }
    Ok(amounts)
}
