//! `docs/job-file.md`: the reference of the job file, written from the types that read it.

use crate::limits;
use crate::overrides::{FLAGS, FlagArity};
use crate::schema::schema;
use crate::script::slurm_flags;
use serde_json::{Map, Value};
use std::fmt::Write;

const HEAD: &str = "# The job file

Written by `cargo test -p pond-spec --test reference` with `POND_UPDATE=1` from the types in `crates/spec`; do not edit.

A job file is flat YAML (`*.pond.yaml`), TOML or JSON; a YAML file may hold several jobs, parted by `---`. `type:` says
what it is: `task` or `env` in this version (`service`, `pipeline` and `vm` are recognised and refused). Unknown keys are
errors with a suggestion; keys that start with `x-` are ignored, and a good place for YAML anchors.

```yaml
type: task
name: train
run: python3 train.py --resume auto
resources: {gpu: H100:8, cpu: 16..64, memory: 128GB}
time_limit: 24h
retry: {on: [node_failure, preempted, \"exit:75\"], max: 10}
```

A bare number means that much is guaranteed; `a..b` is guaranteed..most (of `nodes`: fewest..most). Sizes: `32GB` is in
powers of 1000, `32GiB` in powers of 1024. Times: `90s`, `1h30m`, `2d`; a bare number is seconds.

A bad file gives one message with line and column, the cause and the next step, exit code 65, and nothing is submitted:

```text
error: line 6 column 3: unknown field `memroy`; did you mean `memory`?
 --> train.pond.yaml:6:3
  |
6 |   memroy: 4GB
  |   ^
  = correct it, remove it, or start its name with `x-` to have it ignored
```
";

const DEVICES: &str = "
## Devices

| written | means |
|---|---|
| `1` | one whole device of any model |
| `H100` · `H100:8` | one, eight, whole, whose model name has the word `H100` |
| `A100:40GB:2` | two whole ones with at least 40 GB each |
| `0.5` · `A100:0.25` | that part of one device's compute, and of its memory in proportion |
| `24GB` | any share with 24 GB |
| `{model: A100, compute: 30%, memory: 10GB, count: 2, share: time}` | the long form |
| a list of these | devices of several models |

In the long form `memory` is that of the whole device when `share` is `exclusive`, else that of the share. Shares below
the whole are granted of devices that can keep them: [devices](devices.md).
";

const SCRIPTS: &str = "
## Scripts

`pond run script.sh` and `pond sbatch script.sh` read flags from `#POND` and `#SBATCH` lines above the first command.
The script itself is never changed: it is handed as one argument to the interpreter of its first line (sh, bash, dash,
zsh, ksh, python, perl, ruby). Flags of the command line win over those in the script, `#POND` over `#SBATCH`.
";

const SLURM: &str = "
### `#SBATCH` flags

Long flags, unique beginnings of them (`--ntasks-per-n`), short flags (`-N 2`, `-N2`), quotes and comments are read as
Slurm reads them. A flag that nobody has is an error; one that cannot be honoured is a warning. What `sbatch` takes along
from where it is called, and the other commands: [slurm.md](slurm.md).

The script runs once on *every* node of a gang, not on the first only. In it:

- `srun` starts this node's tasks of a step, with Slurm's variables and PyTorch's (`RANK`, `LOCAL_RANK`, `WORLD_SIZE`) set
  for each, and ends with the highest exit code. `-n -N --ntasks-per-node -w -x -r -c -o -e -i -D -l -K --export
  --gpus-per-task` are honoured; flags of layout and limits change nothing inside a job; others are refused in one line.
- `scontrol show hostnames` and `show job` are there. `sbatch squeue scancel sinfo sacct salloc sstat seff sbcast` say that a job
  reaches no pool, and what to do instead.
- What differs between nodes (`$RANDOM`, the date) differs: take `$SLURM_JOB_ID` for what all must agree on.
- `--output` and `--error` (`%j %A %a %J %N %n %s %t %u %x`, widths as in `%3t`) are written by the script's own task, with
  its rights, in its working folder; `pond logs` has all of it too. `%j` in an array is `12_3`, and other nodes than the first
  write beside the file (`train.out.1`). A folder that is missing is not made, as in Slurm: the job says so and runs.

Set for the script: `SLURM_JOB_ID SLURM_JOBID SLURM_JOB_NAME SLURM_NNODES SLURM_JOB_NUM_NODES SLURM_NODEID SLURM_PROCID
SLURM_LOCALID SLURM_JOB_NODELIST SLURM_NODELIST SLURM_TASKS_PER_NODE SLURM_CPUS_ON_NODE SLURM_JOB_CPUS_PER_NODE
SLURM_GPUS_ON_NODE SLURM_JOB_GPUS SLURM_RESTART_COUNT SLURM_SUBMIT_DIR SLURM_SUBMIT_HOST SLURM_JOB_USER SLURM_JOB_END_TIME
SLURMD_NODENAME SLURM_CLUSTER_NAME SLURM_TASK_PID`; in an array `SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID
SLURM_ARRAY_TASK_COUNT SLURM_ARRAY_TASK_MIN SLURM_ARRAY_TASK_MAX`; when the flag is given `SLURM_JOB_PARTITION SLURM_NTASKS
SLURM_NPROCS SLURM_NTASKS_PER_NODE SLURM_CPUS_PER_TASK SLURM_MEM_PER_NODE SLURM_MEM_PER_CPU SLURM_GPUS SLURM_GPUS_PER_NODE
SLURM_GPUS_PER_TASK`; in a step also `SLURM_STEP_ID SLURM_STEP_NODELIST SLURM_STEP_NUM_NODES SLURM_STEP_NUM_TASKS
SLURM_STEP_TASKS_PER_NODE`. Names in the node list are those by which the ranks reach each other.

| flag | what becomes of it |
|---|---|
";

/// The text of `docs/job-file.md`.
#[must_use]
pub fn reference() -> String {
    let schema = schema();
    let mut out = HEAD.to_owned();
    section(&mut out, "Fields", "", &schema, &schema);
    for (title, name, note) in [
        ("`resources`", "ResourcesFile", "Of each task."),
        ("`any_of`", "Alternative", "A list; each entry replaces fields of `resources` and `labels`."),
        ("Long form of a device", "LongDevice", ""),
        ("`checkpoint`", "CheckpointFile", ""),
        ("`retry`", "RetryFile", "Or a number: that many further attempts for any failure."),
        ("`speed`", "SpeedFile", "Policies that choose by speed use it: `gavel`, `goodput`."),
        ("`idle`", "IdleFile", ""),
        ("`notify`", "NotifyFile", "See [notifications.md](notifications.md)."),
    ] {
        if title.starts_with("Long") {
            out.push_str(DEVICES);
        }
        section(&mut out, title, note, &schema["$defs"][name], &schema);
    }
    out.push_str(SCRIPTS);
    out.push_str("\n### `#POND` flags, also of `pond run`\n\n| flag | meaning |\n|---|---|\n");
    for flag in FLAGS {
        let many = if flag.arity == FlagArity::Many { "; may be repeated" } else { "" };
        // Writing to a String cannot fail.
        writeln!(out, "| `{}` | {}{many} |", format!("--{} {}", flag.name, flag.value).trim_end(), flag.help)
            .ok();
    }
    out.push_str(SLURM);
    for (flag, fate) in slurm_flags() {
        writeln!(out, "| `{flag}` | {fate} |").ok();
    }
    bounds(&mut out);
    out
}

fn section(out: &mut String, title: &str, note: &str, part: &Value, schema: &Value) {
    let note = if note.is_empty() { String::new() } else { format!("{note}\n\n") };
    write!(out, "\n## {title}\n\n{note}| field | takes | meaning |\n|---|---|---|\n").ok();
    let none = Map::new();
    let required: Vec<&str> =
        part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in part["properties"].as_object().unwrap_or(&none) {
        if name == "queue" {
            continue;
        }
        let meaning = field["description"].as_str().unwrap_or_default().replace(['\n', '|'], " ");
        let must = if required.contains(&name.as_str()) { " **Required.**" } else { "" };
        writeln!(out, "| `{name}` | {} | {meaning}{must} |", takes(field, schema, 0)).ok();
    }
}

/// The words for a field's type.
fn takes(field: &Value, schema: &Value, depth: u8) -> String {
    if depth > 4 {
        return "the same".to_owned();
    }
    if let Some(name) = field["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let target = &schema["$defs"][name];
        let is_value = target["type"].is_array() || target["type"] == "string" && target["oneOf"].is_null();
        return match target["description"].as_str() {
            Some(words) if is_value => words.replace('|', " or "),
            _ => takes(target, schema, depth + 1),
        };
    }
    if let Some(words) = field["const"].as_str() {
        return format!("`{words}`");
    }
    if let Some(options) = field["anyOf"].as_array().or_else(|| field["oneOf"].as_array()) {
        let mut words: Vec<String> = options
            .iter()
            .filter(|option| option["type"] != "null")
            .map(|option| takes(option, schema, depth + 1))
            .collect();
        words.dedup();
        return words.join(" or ");
    }
    let kind = field["type"].as_str().or_else(|| field["type"].as_array()?.first()?.as_str());
    match kind {
        Some("string") => "text".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("array") => format!("list of {}", takes(&field["items"], schema, depth + 1)),
        Some("object") if field["properties"].is_object() => "map, below".to_owned(),
        Some("object") => format!("map of {}", takes(&field["additionalProperties"], schema, depth + 1)),
        _ => "anything".to_owned(),
    }
}

fn bounds(out: &mut String) {
    out.push_str("\n## Bounds\n\nPast these an amount is taken for a slip.\n\n| what | most |\n|---|---|\n");
    for (what, most) in [
        ("bytes of a file", crate::MAX_BYTES as u64),
        ("jobs of a file", crate::MAX_DOCUMENTS as u64),
        ("levels of lists and maps", crate::MAX_DEPTH as u64),
        ("values of a file, aliases expanded", crate::MAX_NODES as u64),
        ("tasks of a job (array elements times nodes)", limits::TASKS),
        ("nodes of a gang", limits::NODES.into()),
        ("devices of a request", limits::DEVICES.into()),
        ("array index", limits::INDEX.into()),
        ("cores of a task", limits::CPU_MILLI / 1000),
        ("bytes of memory of a task", limits::MEMORY),
        ("bytes of disk of a task", limits::DISK),
        ("days of any time", limits::SPAN_MS / 86_400_000),
        ("attempts", limits::ATTEMPTS.into()),
        ("bytes of one argument or variable", limits::ARGUMENT as u64),
        ("entries of `env`, `files`, `volumes`, ...", limits::ENTRIES as u64),
        ("characters of a name", limits::NAME as u64),
    ] {
        writeln!(out, "| {what} | {most} |").ok();
    }
}
