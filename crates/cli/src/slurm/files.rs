//! What a job of Slurm's runs and which files it reads and writes, as its specification has them: what the stand-ins in the
//! task go by as well.

use super::rows::Row;
use serde_json::Value;

const NONE: &str = "(null)";

/// `Command=`: the script's name, or the words of a command, as far as the job knows them.
pub fn command(run: &Value) -> String {
    let words: Vec<&str> = run
        .pointer("/command/argv")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let own = match (run["slurm"].as_bool(), &words[..]) {
        (Some(true), [_, _, _, _, rest @ ..]) => rest,
        (_, words) => words,
    };
    let own = match own.first() {
        Some(&"srun") => own.iter().position(|word| *word == "--").and_then(|at| own.get(at + 1..)),
        // The interpreter and its flags, the text, and then a name, of which a shell is told.
        _ if own.len() < words.len() => {
            own.iter().position(|word| matches!(*word, "-c" | "-e")).and_then(|at| own.get(at + 2..))
        }
        _ => Some(own),
    };
    let text = own.unwrap_or_default().join(" ");
    // What came by `--wrap` or from standard input has no name of its own.
    if text.is_empty() || text == "script" { NONE.to_owned() } else { text }
}

/// `StdErr=`, `StdIn=` and `StdOut=`, for a job whose output files were named; the pool's log has all output.
pub fn lines(row: &Row, run: &Value) -> [String; 3] {
    let named = |variable: &str| run["env"][variable].as_str().filter(|name| !name.is_empty());
    let path = |name: Option<&str>, without: &str| match name {
        None => without.to_owned(),
        Some(name) if name.starts_with('/') || name == "none" => expand(name, row),
        Some(name) => format!("{}/{}", run["workdir"].as_str().unwrap_or_default(), expand(name, row)),
    };
    let out = named("SBATCH_OUTPUT");
    [
        format!("StdErr={}", path(named("SBATCH_ERROR").or(out), NONE)),
        format!("StdIn={}", path(named("SBATCH_INPUT"), "/dev/null")),
        format!("StdOut={}", path(out, NONE)),
    ]
}

/// A file name in Slurm's pattern, of the first task; the node's own reading is `path.sh` of the stand-ins.
fn expand(pattern: &str, row: &Row) -> String {
    let element = row.element.as_deref();
    let id = row.job.id.to_string();
    let job = element.map_or_else(|| id.clone(), |element| format!("{id}_{element}"));
    let mut text = String::new();
    let mut rest = pattern;
    while let Some((before, behind)) = rest.split_once('%') {
        text.push_str(before);
        let digits = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (width, behind) = behind.split_at(digits);
        let mut letters = behind.chars();
        let part = match letters.next() {
            Some('%') => "%".to_owned(),
            Some('j') => job.clone(),
            Some('A') => id.clone(),
            Some('J') => format!("{job}.batch"),
            Some('a') => element.unwrap_or("4294967294").to_owned(),
            Some('t' | 'n') => "0".to_owned(),
            Some('N') => row.nodes.first().cloned().unwrap_or_else(|| NONE.to_owned()),
            Some('s') => "batch".to_owned(),
            Some('x') => row.job.name.clone(),
            Some('u') => row.job.user.clone(),
            other => format!("%{width}{}", other.map(String::from).unwrap_or_default()),
        };
        let number = part.bytes().all(|byte| byte.is_ascii_digit());
        let wide = width.parse().ok().filter(|&width: &usize| number && width <= 10).unwrap_or(0);
        text.push_str(&format!("{part:0>wide$}"));
        rest = letters.as_str();
    }
    text + rest
}

/// An amount of memory as Slurm writes it: whole units of 1024, the largest that is exact, at least `M`.
pub fn memory(bytes: u64) -> String {
    let mut amount = bytes >> 20;
    let mut unit = 'M';
    for larger in ['G', 'T'] {
        if amount == 0 || !amount.is_multiple_of(1024) {
            break;
        }
        amount /= 1024;
        unit = larger;
    }
    format!("{amount}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn memory_is_in_units_of_1024() {
        let sizes = [300_000_000, 100 << 20, 1 << 30, 1536 << 20, 2 << 40, 0];
        assert_eq!(sizes.map(memory), ["286M", "100M", "1G", "1536M", "2T", "0M"]);
    }

    #[test]
    fn a_command_is_what_was_submitted() {
        let of = |slurm: bool, argv: &[&str]| command(&json!({"slurm": slurm, "command": {"argv": argv}}));
        let start = ["/bin/sh", "-c", "exec", "sbatch"];
        assert_eq!(
            of(true, &[&start[..], &["/bin/bash", "-l", "-c", "text", "s.sh", "a"]].concat()),
            "s.sh a"
        );
        assert_eq!(of(true, &[&start[..], &["python3", "-c", "text"]].concat()), "(null)");
        assert_eq!(
            of(true, &[&start[..], &["srun", "--alone", "--", "hostname", "-i"]].concat()),
            "hostname -i"
        );
        assert_eq!(of(false, &["sleep", "5"]), "sleep 5");
        assert_eq!(command(&json!({"command": {"script": "echo"}})), "(null)");
    }
}
