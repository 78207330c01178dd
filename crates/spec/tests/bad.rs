//! Bad files: one message each, with its line, cause and next step; bounded work whatever comes.

use pond_spec::{Format, SpecError, lint, read};
use proptest::prelude::*;
use std::path::Path;

fn fault(text: &str) -> SpecError {
    let report = lint(text, "bad.pond.yaml", Format::Yaml);
    assert_eq!(report.exit_code(), 65, "{text}");
    assert_eq!(report.errors.len(), 1, "one message for {text}: {:?}", report.errors);
    let first = read(text, "bad.pond.yaml", Format::Yaml).expect_err("a bad file");
    assert_eq!(first, report.errors[0]);
    first
}

/// Every field, the line of a value of a wrong type for it. `[]` and `{}` stand for a list and a map.
const WRONG: &[(&str, &[&str])] = &[
    ("name", &["3", "true", "[]", "{}"]),
    ("project", &["3", "[]", "{}"]),
    ("nodes", &["x", "true", "1.5", "0", "-1", "[]", "{}", "4..2", "99999", "99999999999999999999"]),
    ("image", &["'a b'", "[]", "{}", "'UPPER/Case'", "'x@sha256:12'"]),
    ("isolation", &["3", "jail", "[]", "{}", "vm"]),
    ("files", &["a", "3", "{}", "[3]", "[{}]", "['']"]),
    ("setup", &["3", "[]", "{}"]),
    ("user", &["root", "-1", "1:2:3", "4294967295", "[]", "{}"]),
    ("workdir", &["3", "relative", "/a/../b", "[]", "{}"]),
    ("env", &["3", "x", "[a]", "{1A: x}", "{A: [1]}", "{A: }", "{POND_X: 1}"]),
    ("secrets", &["A", "3", "{}", "['a b']", "[3]"]),
    (
        "volumes",
        &[
            "/a:/b",
            "3",
            "{}",
            "[/a]",
            "[data:/data]",
            "[/a:b]",
            "[/a:/b/../c]",
            "[/a:/]",
            "[/a:/b:rx]",
            "[[]]",
        ],
    ),
    ("resources", &["3", "x", "[]", "{cpus: 3}"]),
    ("labels", &["3", "x", "[a]", "{a b: c}", "{a: [1]}"]),
    ("any_of", &["3", "x", "{}", "[3]", "[{gpus: 1}]", "[{gpu: 0}]"]),
    ("class", &["3", "gold", "[]", "{}"]),
    ("priority", &["urgent", "1001", "-1", "true", "[]", "{}"]),
    ("hold", &["yes", "1", "[]", "{}"]),
    ("preemptible", &["yes", "1", "[]", "{}"]),
    ("checkpoint", &["3", "/ckpt", "[]", "{dir: rel}", "{signal: KILL}", "{grace: 5y}", "{directory: /a}"]),
    ("time_limit", &["soon", "true", "0", "5y", "-1", "[]", "{}", "99999999d", "99999999999999999999d"]),
    ("estimate", &["soon", "true", "0", "[]", "{}", "99999999d"]),
    (
        "speed",
        &[
            "2",
            "[]",
            "{model: {H100: 1}}",
            "{models: [H100]}",
            "{models: {H100: fast}}",
            "{models: {H100: 0}}",
            "{models: {H100: 500m}}",
            "{models: {H100: 1001}}",
            "{models: {H100: -1}}",
            "{nodes: {two: 1}}",
            "{nodes: {0: 1}}",
            "{nodes: {2..4: 1}}",
        ],
    ),
    ("grace", &["soon", "[]", "{}"]),
    ("min_runtime", &["soon", "[]", "{}"]),
    (
        "retry",
        &[
            "often",
            "true",
            "-1",
            "[]",
            "{on: preempted}",
            "{on: [prempted]}",
            "{on: ['exit:0']}",
            "{max: x}",
            "99999",
        ],
    ),
    (
        "notify",
        &[
            "{on: [failed]}",
            "{to: []}",
            "{on: [], to: [email:a@b]}",
            "{on: [faild], to: [email:a@b]}",
            "{to: email:a@b}",
            "{to: ['email:a']}",
            "{to: [\"email:a@b\\nBcc: c@d\"]}",
            "{to: ['webhook:ftp://example.org']}",
            "{to: ['webhook:https://']}",
            "{to: ['a b']}",
            "[email:a@b]",
        ],
    ),
    ("after", &["prep", "3", "{}", "[nobody]", "[{on: end}]", "[{job: 3, on: start}]", "[[]]"]),
    (
        "array",
        &["x", "10", "true", "{}", "9-0", "0-9:0", "0-999999", "0-99999999999", "['0-9%2']", "[]", "1..5"],
    ),
    ("parallel", &["0", "x", "3", "[]", "{}"]),
    ("ports", &["8888", "{}", "[0]", "[70000]", "[a]", "['1:2:3']", "[[]]"]),
    ("tty", &["yes", "1", "[]", "{}"]),
    ("stdin", &["3", "''", "[]", "{}", "x\ntty: true"]),
    ("ide", &["jupyter"]),
    ("idle", &["{after: 5m}"]),
];

/// The same below `resources:`.
const WRONG_RESOURCES: &[(&str, &[&str])] = &[
    (
        "gpu",
        &[
            "true",
            "0",
            "-1",
            "1.5",
            "H100:H200",
            "8:H100",
            "99999",
            "'H 100:'",
            "{}x",
            "{modle: H100}",
            "{count: 0}",
            "[[1]]",
            "{share: exclusive, compute: 30%}",
            "{compute: 130%}",
        ],
    ),
    ("fpga", &["true", "'?'"]),
    ("npu", &["{count: x}", "'?'"]),
    ("opencl", &["0.0", "'?'"]),
    ("cpu", &["many", "0", "-1", "true", "4..2", "1.23456", "[]", "{}", "999999999", "99999999999999999999"]),
    ("memory", &["lots", "0", "4XB", "true", "8GB..4GB", "[]", "{}", "99999TB", "99999999999999999999999"]),
    ("disk", &["lots", "0", "[]", "{}", "99999999PB"]),
    ("shm", &["lots", "[]", "{}"]),
    ("pids", &["x", "0", "1.5", "-1", "99999999", "[]", "{}"]),
];

#[test]
fn every_field_with_a_wrong_value_gives_one_message_on_its_line() {
    for (field, values) in WRONG {
        for value in *values {
            let error = fault(&format!("type: task\nrun: x\n{field}: {value}\n"));
            // A flow value that YAML itself refuses is still on its line, or just after it.
            let line = error.place.map(|place| place.line);
            assert!(matches!(line, Some(3 | 4)), "{field}: {value}: {error}");
            assert!(
                error.field.is_empty() || error.field.starts_with(field),
                "{field}: {value}: {}",
                error.field
            );
            assert!(!error.next().is_empty());
        }
    }
    for (field, values) in WRONG_RESOURCES {
        for value in *values {
            let error = fault(
                &format!("type: task\nrun: x\nresources:\n  memory: 4GB\n  {field}: {value}\n")
                    .replace("  memory: 4GB\n  memory", "  memory"),
            );
            let line = error.place.map(|place| place.line);
            assert!(matches!(line, Some(4..=6)), "{field}: {value}: {error}");
        }
    }
    for text in [
        "type: task\nrun: 3\n",
        "type: task\nrun: []\n",
        "type: task\nrun: {a: b}\n",
        "type: task\nrun: ''\n",
        "type: task\n",
    ] {
        fault(text);
    }
    for kind in ["3", "[]", "{}", "tsak", "service", "pipeline", "vm"] {
        assert_eq!(fault(&format!("run: x\ntype: {kind}\n")).place.map(|place| place.line), Some(2));
    }
}

#[test]
fn no_field_is_missing_from_the_tables() {
    let schema = pond_spec::schema();
    let known = |pointer: &str, table: &[(&str, &[&str])], apart: &[&str]| {
        let fields = schema.pointer(pointer).and_then(serde_json::Value::as_object).expect("fields");
        for field in fields.keys() {
            let listed = table.iter().any(|(name, _)| name == field) || apart.contains(&field.as_str());
            assert!(listed, "`{field}` has no wrong values in the table");
        }
    };
    known("/properties", WRONG, &["type", "run", "queue"]);
    known("/$defs/ResourcesFile/properties", WRONG_RESOURCES, &[]);
}

#[test]
fn messages_are_those_that_were_agreed_on() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let mut cases: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()).collect();
    cases.retain(|path| path.extension().is_none_or(|extension| extension != "txt"));
    cases.sort();
    assert!(cases.len() >= 10, "{}", folder.display());
    for case in cases {
        let text = std::fs::read_to_string(&case).unwrap();
        let name = case.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let report = lint(&text, &name, Format::of(&name, &text));
        let mut said: Vec<String> = report.errors.iter().map(SpecError::report).collect();
        said.extend(report.warnings.iter().map(|warning| format!("warning: {warning}")));
        let said = said.join("\n") + "\n";
        let kept = case.with_extension("txt");
        if std::env::var_os("POND_UPDATE").is_some() {
            std::fs::write(&kept, &said).unwrap();
        }
        assert_eq!(said, std::fs::read_to_string(&kept).unwrap_or_default(), "{name}");
    }
}

#[test]
fn work_is_bounded_whatever_the_file() {
    let bomb: String = (1..40).fold("a0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned(), |text, level| {
        let last = level - 1;
        format!("{text}a{level}: &a{level} [{}]\n", vec![format!("*a{last}"); 8].join(","))
    });
    let deep = format!("type: task\nrun: {}{}\n", "[".repeat(5000), "]".repeat(5000));
    let merges: String = (0..3000)
        .fold("x-a: &a {}\ntype: task\nrun: x\nenv:\n".to_owned(), |text, n| format!("{text}  A{n}: *a\n"));
    let documents = "type: task\nrun: x\n---\n".repeat(2000);
    let wide = format!("type: task\nrun: [{}]\n", "a,".repeat(200_000));
    for text in [bomb, deep, merges, documents, wide, "x".repeat(pond_spec::MAX_BYTES + 1)] {
        assert!(read(&text, "bomb.yaml", Format::Yaml).is_err());
    }
    let deep_json = format!("{{\"type\":\"task\",\"run\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(read(&deep_json, "x.json", Format::Json).is_err());
    let deep_toml = format!("run = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(read(&deep_toml, "x.toml", Format::Toml).is_err());
    let alias = "x-a: &a [1, *a]\ntype: task\nrun: x\n";
    assert!(read(alias, "x.yaml", Format::Yaml).is_err());
}

#[test]
fn a_long_chain_is_ordered_and_a_long_cycle_named() {
    let link = |n: usize, last: usize| format!("type: task\nname: j{n}\nrun: x\nafter: [j{last}]\n---\n");
    let cycle: String = (0..900).map(|n| link(n, (n + 899) % 900)).collect();
    let error = fault(&cycle);
    assert!(error.to_string().contains("jobs wait for each other: j"), "{error}");
    let chain: String = (1..900).map(|n| link(n, n - 1)).collect();
    let text = format!("{chain}type: task\nname: j0\nrun: x\n");
    assert_eq!(read(&text, "chain.yaml", Format::Yaml).map(|reading| reading.jobs.len()), Ok(900));
}

/// What holds for any report.
fn sound(report: &pond_spec::Report) {
    assert_eq!(report.exit_code() == 0, report.errors.is_empty());
    for error in &report.errors {
        assert!(!error.to_string().contains('\n'), "one line: {error}");
        assert!(!error.report().contains(|c: char| c.is_control() && c != '\n'), "safe for a terminal");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "[ -~\n\u{0}\u{1F}é😀]{0,300}") {
        for format in [Format::Yaml, Format::Toml, Format::Json, Format::Script] {
            sound(&lint(&text, "any", format));
        }
    }

    #[test]
    fn no_value_makes_a_field_panic(value in "[-0-9A-Za-z:.,%/@ ]{0,24}") {
        for (field, _) in WRONG {
            sound(&lint(&format!("type: task\nrun: x\n{field}: {value}\n"), "any", Format::Yaml));
        }
        for (field, _) in WRONG_RESOURCES {
            sound(&lint(&format!("type: task\nrun: x\nresources: {{{field}: {value}}}\n"), "any", Format::Yaml));
        }
        for flag in pond_spec::FLAGS {
            sound(&lint(&format!("#!/bin/sh\n#POND --{} {value}\n", flag.name), "any", Format::Script));
        }
    }
}
