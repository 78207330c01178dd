//! Makes an entry of the library for every name in `names/`: a jump through a table, which [`link`] fills.

use std::fmt::Write;
use std::path::Path;

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let mut names: Vec<(String, i32)> = Vec::new();
    let mut counts = Vec::new();
    for file in ["cuda", "nvml"] {
        let path = Path::new(&here).join(format!("names/{file}.txt"));
        println!("cargo::rerun-if-changed={}", path.display());
        let text = std::fs::read_to_string(path).expect("is there");
        let before = names.len();
        names.extend(text.lines().map(|line| {
            let (name, since) = line.split_once(' ').unwrap_or((line, "0"));
            (name.to_owned(), since.parse().expect("a version of CUDA"))
        }));
        counts.push(names.len() - before);
    }
    let mut out =
        format!("pub const CUDA: usize = {};\npub const ALL: usize = {};\n", counts[0], names.len());
    let mut line = |text: String| writeln!(out, "{text}").expect("text");
    line("pub static NAMES: [(&std::ffi::CStr, i32); ALL] = [".to_owned());
    names.iter().for_each(|(name, since)| line(format!("    (c\"{name}\", {since}),")));
    line("];\npub mod at {".to_owned());
    for (at, (name, _)) in names.iter().enumerate() {
        line(format!("    pub const {name}: usize = {at};"));
    }
    line("}\nentries! {".to_owned());
    names.iter().for_each(|(name, _)| line(format!("    {name}")));
    line("}".to_owned());
    let place = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&place).join("names.rs"), out).expect("written");
}
