//! Bodies of the API: a job file as JSON.
#![no_main]
mod common;

libfuzzer_sys::fuzz_target!(|text: &str| common::check(text, "body", pond_spec::Format::Json));
