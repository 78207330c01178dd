//! YAML job files.
#![no_main]
mod common;

libfuzzer_sys::fuzz_target!(|text: &str| common::check(text, "job.yaml", pond_spec::Format::Yaml));
