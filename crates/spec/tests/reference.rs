//! What is written about the job file stays true: the reference, the schema, the examples.

use pond_spec::{Format, read, reference, schema};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a checked-in text; `POND_UPDATE=1` writes it instead.
fn same_as_file(path: &Path, text: &str) {
    if std::env::var_os("POND_UPDATE").is_some() {
        std::fs::write(path, text).expect("the page can be written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == text, "{} is out of date: run the test once with POND_UPDATE=1", path.display());
}

#[test]
fn the_reference_is_up_to_date() {
    same_as_file(&repository().join("docs/job-file.md"), &reference());
}

/// Every job file of the folder tree.
fn job_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            job_files(&path, out);
        } else if name.contains(".pond.") || name == "pond.yaml" {
            out.push(path);
        }
    }
}

/// The YAML blocks of a page that are whole job files.
fn blocks(page: &str) -> Vec<String> {
    let yaml = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    yaml.filter(|block| block.contains("type:")).map(str::to_owned).collect()
}

#[test]
fn every_example_is_read_and_fits_the_schema() {
    let schema = schema();
    let mut files = Vec::new();
    job_files(&repository().join("examples"), &mut files);
    assert!(!files.is_empty());
    let mut texts: Vec<(String, String)> = files
        .iter()
        .map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap()))
        .collect();
    texts.extend(blocks(&reference()).into_iter().map(|block| ("docs/job-file.md".to_owned(), block)));
    texts.push(("all.yaml".to_owned(), include_str!("every_field.pond.yaml").to_owned()));
    for (name, text) in texts {
        let reading =
            read(&text, &name, Format::of(&name, &text)).unwrap_or_else(|why| panic!("{}", why.report()));
        for job in &reading.jobs {
            let json = serde_json::to_value(job).unwrap();
            assert!(fits(&schema, &schema, &json), "{name}: {json}");
        }
    }
}

#[test]
fn schema_and_reader_agree_on_what_is_wrong() {
    let schema = schema();
    for (text, good) in [
        (r#"{"type": "task", "run": "true"}"#, true),
        (r#"{"type": "task", "run": "true", "x-note": [1]}"#, true),
        (r#"{"type": "task", "run": "true", "queue": "a/b"}"#, true),
        (r#"{"type": "task", "run": ["a", 1, true], "resources": {"gpu": 0.5, "x-a": 1}}"#, true),
        (r#"{"type": "task", "run": "true", "memroy": 1}"#, false),
        (r#"{"type": "task", "run": "true", "resources": {"cpus": 1}}"#, false),
        (r#"{"type": "batch", "run": "true"}"#, false),
        (r#"{"run": "true"}"#, false),
        (r#"{"type": "task", "run": 3}"#, false),
        (r#"{"type": "task", "run": "true", "class": "gold"}"#, false),
        (r#"{"type": "task", "run": "true", "tty": "yes"}"#, false),
    ] {
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(fits(&schema, &schema, &value), good, "schema: {text}");
        assert_eq!(read(text, "x.json", Format::Json).is_ok(), good, "reader: {text}");
    }
}

/// Validation by the part of JSON Schema that ours uses; a keyword it does not know is a failure, not a pass.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(keywords) = schema.as_object() else { return schema == &Value::Bool(true) };
    let list = |options: &Value| options.as_array().cloned().unwrap_or_default();
    keywords.iter().all(|(keyword, rule)| match keyword.as_str() {
        "$schema" | "$defs" | "title" | "description" | "examples" | "default" | "format" => true,
        "$ref" => {
            let pointer = rule.as_str().and_then(|path| path.strip_prefix('#')).unwrap_or_default();
            root.pointer(pointer).is_some_and(|target| fits(root, target, value))
        }
        "type" if rule.is_array() => list(rule).iter().any(|kind| is_a(kind, value)),
        "type" => is_a(rule, value),
        "const" => rule == value,
        "enum" => list(rule).contains(value),
        "anyOf" => list(rule).iter().any(|option| fits(root, option, value)),
        "oneOf" => list(rule).iter().filter(|option| fits(root, option, value)).count() == 1,
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(root, rule, item))),
        "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().unwrap_or(0)),
        "maximum" => value.as_i64().is_none_or(|number| number <= rule.as_i64().unwrap_or(0)),
        "required" => value.as_object().is_none_or(|map| {
            list(rule).iter().all(|name| name.as_str().is_some_and(|name| map.contains_key(name)))
        }),
        "properties" => value.as_object().is_none_or(|map| {
            map.iter().all(|(name, value)| rule.get(name).is_none_or(|rule| fits(root, rule, value)))
        }),
        "patternProperties" => *rule == serde_json::json!({ "^x-": true }),
        "additionalProperties" => value.as_object().is_none_or(|map| {
            let named = |name: &str| schema["properties"].get(name).is_some() || name.starts_with("x-");
            map.iter().all(|(name, value)| {
                let ignored = schema["properties"].is_object() && named(name);
                ignored || fits(root, rule, value)
            })
        }),
        other => panic!("the test does not know the keyword {other}"),
    })
}

fn is_a(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("null") => value.is_null(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        other => panic!("the test does not know the type {other:?}"),
    }
}
