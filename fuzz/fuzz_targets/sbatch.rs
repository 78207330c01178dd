//! Scripts with `#POND` and `#SBATCH` lines, and flags of a command line.
#![no_main]
mod common;

libfuzzer_sys::fuzz_target!(|text: &str| {
    common::check(text, "job.sh", pond_spec::Format::Script);
    // The same words as flags of a command line.
    let flags: Vec<String> = text.lines().take(20).map(str::to_owned).collect();
    let _ = pond_spec::sbatch(Some("#!/bin/sh\ntrue\n"), "job.sh", &flags, &[], &|_| None);
});
