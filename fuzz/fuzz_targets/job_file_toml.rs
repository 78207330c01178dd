//! TOML job files.
#![no_main]
mod common;

libfuzzer_sys::fuzz_target!(|text: &str| common::check(text, "job.toml", pond_spec::Format::Toml));
