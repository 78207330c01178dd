//! Pages as tests: the commands a page shows are run, and what they print is compared with what it shows.
//!
//! In a page,
//! - a fence with `file=NAME` after its language is written into the working folder under that name;
//! - a `console` fence is run: `$ command` (continued by `> more`), what it prints (standard error
//!   too), and `[exit 65]` when it does not end with 0;
//! - `[..]` stands for anything within a line, a line `...` for any number of lines;
//! - `<!-- needs: root torch -->` names what the machine must have for the page to be run;
//! - `<!-- copy: examples -->` copies a folder of the repository into the working folder.
//!
//! With `POND_UPDATE=1` a step that prints otherwise than shown is rewritten in the page, for a person to read and
//! to put the wildcards in; the test fails all the same.

use crate::pool::Pool;
use crate::{is_root, skip};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// No command of a page takes longer; what waits for more has hung.
const LONGEST: &str = "120";

#[derive(Debug, PartialEq, Eq)]
enum Part {
    File { name: String, text: String },
    Step(Step),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
    code: i32,
}

/// Runs a page in a pool of its own, ends the pool, and checks that nothing is left.
///
/// # Panics
/// When a command ends or prints other than the page shows.
pub fn run(page: &Path) {
    let text = std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let name = page.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    for need in notes(&text, "needs") {
        if let Some(why) = missing(&need) {
            skip(&page.display().to_string(), &why);
            return;
        }
    }
    let pool = Pool::new(&name);
    for folder in notes(&text, "copy") {
        let from = root().join(folder);
        let copied = pool.program("cp").arg("-r").arg(&from).arg(".").status().expect("cp runs");
        assert!(copied.success(), "{} cannot be copied", from.display());
    }
    let mut blessed = Vec::new();
    for part in parse(&text) {
        match part {
            Part::File { name, text } => {
                let path = pool.work().join(name);
                std::fs::create_dir_all(path.parent().expect("a folder"))
                    .expect("a folder for a file of the page");
                std::fs::write(path, text).expect("a file of the page");
            }
            Part::Step(step) if bless() => blessed.extend(step.bless(&pool)),
            Part::Step(step) => step.run(&pool, page),
        }
    }
    if !blessed.is_empty() {
        rewrite(page, &text, &blessed);
        panic!("{}: {} steps printed otherwise and were rewritten", page.display(), blessed.len());
    }
    pool.finish();
}

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn bless() -> bool {
    std::env::var_os("POND_UPDATE").is_some()
}

/// Puts what was printed in the place of what was shown.
fn rewrite(page: &Path, text: &str, blessed: &[(Step, Vec<String>)]) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (step, printed) in blessed.iter().rev() {
        let start = step.line + step.command.matches('\n').count();
        let end =
            (start..lines.len()).find(|&at| lines[at].starts_with("$ ") || lines[at].starts_with("```"));
        lines.splice(start..end.unwrap_or(start), printed.iter().cloned());
    }
    std::fs::write(page, lines.join("\n") + "\n").expect("the page can be written");
}

impl Step {
    fn output(&self, pool: &Pool) -> (Vec<String>, Option<i32>) {
        let mut command = pool.program("timeout");
        command.args(["--kill-after=5", LONGEST, "bash", "-c"]).arg(format!("exec 2>&1\n{}", self.command));
        // To a file and not through a pipe: a server that a command leaves running may hold it open.
        let path = pool.work().with_file_name("output");
        let file = std::fs::File::create(&path).expect("a file for the output");
        let status = command.stdout(file).status().expect("bash runs");
        let printed = String::from_utf8_lossy(&std::fs::read(&path).expect("the output")).into_owned();
        (printed.lines().map(|line| line.trim_end().to_owned()).collect(), status.code())
    }

    fn run(&self, pool: &Pool, page: &Path) {
        let (printed, code) = self.output(pool);
        let place = format!("{}:{}: $ {}", page.display(), self.line, self.command);
        let (shown, actual) = (self.expected.join("\n"), printed.join("\n"));
        assert!(self.shows(&printed), "{place}\nshown:\n{shown}\nprinted:\n{actual}");
        assert_eq!(code, Some(self.code), "{place}: ended otherwise than shown, after printing\n{actual}");
    }

    fn shows(&self, printed: &[String]) -> bool {
        lines_match(&self.expected, printed)
    }

    fn bless(self, pool: &Pool) -> Option<(Self, Vec<String>)> {
        let (mut printed, code) = self.output(pool);
        let holds = self.shows(&printed) && code == Some(self.code);
        if code != Some(0) {
            printed.push(format!("[exit {}]", code.unwrap_or(-1)));
        }
        (!holds).then_some((self, printed))
    }
}

/// The words of all lines `<!-- name: words -->`.
fn notes(text: &str, name: &str) -> Vec<String> {
    let head = format!("<!-- {name}:");
    let lines = text.lines().filter_map(|line| line.strip_prefix(head.as_str())?.strip_suffix("-->"));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

fn missing(need: &str) -> Option<String> {
    let runs_cc = || {
        let run = std::process::Command::new("cc").arg("--version").stdout(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    // As somebody who is nobody here.
    let makes_namespaces = || {
        let mut setpriv = std::process::Command::new("setpriv");
        setpriv.args(["--reuid=64321", "--regid=64321", "--clear-groups", "unshare", "--user"]);
        setpriv.args(["--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "true"]);
        setpriv.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let imports = |module: &str| {
        let mut python = std::process::Command::new("/usr/bin/python3");
        let run = python.args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    let handed = || {
        let doctor = std::process::Command::new(crate::pool::binary()).arg("doctor").output();
        let says = |line: &str| line.starts_with("memory limit") && line.contains(" ok ");
        doctor.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(says))
    };
    match need {
        "root" => (!is_root()).then(|| "containers with limits need root".to_owned()),
        "opencl" => {
            let drivers = std::fs::read_dir("/etc/OpenCL/vendors").into_iter().flatten().count();
            (drivers == 0).then(|| "there is no OpenCL driver (Debian: pocl-opencl-icd)".to_owned())
        }
        "namespaces" => (!makes_namespaces()).then(|| {
            "this machine lets its users have no namespaces (`pond doctor`, as a user, says why)".to_owned()
        }),
        "handed" => (is_root() || !handed()).then(|| {
            "nobody hands control groups over here (`pond doctor`, as a user, says why); `cargo xtask v2` runs it".to_owned()
        }),
        "cc" => (!runs_cc()).then(|| "there is no C compiler (`cc`)".to_owned()),
        module => (!imports(module)).then(|| format!("python3 cannot import {module}")),
    }
}

fn parse(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let body: Vec<(usize, &str)> =
            lines.by_ref().take_while(|(_, line)| !line.starts_with("```")).collect();
        let name = info.split_whitespace().find_map(|word| word.strip_prefix("file="));
        if let Some(name) = name {
            let text: String = body.iter().map(|(_, line)| format!("{line}\n")).collect();
            parts.push(Part::File { name: name.to_owned(), text });
        } else if info.trim() == "console" {
            parts.extend(parse_steps(&body).into_iter().map(Part::Step));
        }
    }
    parts
}

fn parse_steps(body: &[(usize, &str)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, line) in body {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { line: index + 1, command: command.to_owned(), ..Step::default() });
            continue;
        }
        let Some(step) = steps.last_mut() else { continue };
        let code = line.strip_prefix("[exit ").and_then(|rest| rest.strip_suffix(']')?.parse().ok());
        match (line.strip_prefix("> "), code) {
            (Some(more), _) if step.expected.is_empty() => step.command = format!("{}\n{more}", step.command),
            (_, Some(code)) => step.code = code,
            _ => step.expected.push(line.trim_end().to_owned()),
        }
    }
    steps
}

fn lines_match(expected: &[impl AsRef<str>], actual: &[impl AsRef<str>]) -> bool {
    let Some((first, rest)) = expected.split_first() else { return actual.is_empty() };
    if first.as_ref() == "..." {
        return (0..=actual.len()).any(|skipped| lines_match(rest, &actual[skipped..]));
    }
    let Some((line, others)) = actual.split_first() else { return false };
    line_matches(first.as_ref(), line.as_ref()) && lines_match(rest, others)
}

fn line_matches(expected: &str, actual: &str) -> bool {
    let mut parts = expected.split("[..]");
    let Some(mut rest) = parts.next().and_then(|first| actual.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_match_with_and_without_wildcards() {
        assert!(line_matches("job 1 done", "job 1 done"));
        assert!(!line_matches("job 1", "job 1 done"));
        assert!(line_matches("job [..] done", "job 17 done"));
        assert!(line_matches("[..]", ""));
        assert!(!line_matches("a[..]b[..]c", "a c b"));
        assert!(lines_match(&["a", "...", "z"], &["a", "b", "c", "z"]));
        assert!(lines_match(&["..."], &[""; 0]));
        assert!(!lines_match(&["a", "..."], &["b"]));
        assert!(!lines_match(&[""; 0], &["more"]));
    }

    #[test]
    fn a_page_is_read_into_files_and_steps() {
        let page = "text\n```yaml file=a/b.yaml\nx: 1\n```\n```console\n$ pond run \\\n> -- true\nout\n[exit 3]\n$ true\n```\n```sh\n$ not run\n```\n";
        let step = |line, command: &str, expected: &[&str], code| {
            let expected = expected.iter().map(|&line| line.to_owned()).collect();
            Part::Step(Step { line, command: command.to_owned(), expected, code })
        };
        let file = Part::File { name: "a/b.yaml".to_owned(), text: "x: 1\n".to_owned() };
        assert_eq!(
            parse(page),
            [file, step(6, "pond run \\\n-- true", &["out"], 3), step(10, "true", &[], 0)]
        );
    }

    #[test]
    fn notes_are_read() {
        assert_eq!(notes("# T\n<!-- needs: root torch -->\n", "needs"), ["root", "torch"]);
    }
}
