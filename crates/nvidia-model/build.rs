//! An entry for every name of the drivers that the model does not do itself: it says that it is not supported, as drivers do.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let read = |path: &Path| {
        println!("cargo::rerun-if-changed={}", path.display());
        std::fs::read_to_string(path).expect("is there")
    };
    let mut done = BTreeSet::new();
    let sources = std::fs::read_dir(Path::new(&here).join("src")).expect("is there");
    for source in sources.flatten() {
        let text = read(&source.path());
        // Where a function of the model stands: `[cuMemAlloc_v2, cuMemAlloc](...)`.
        let heads = text.split("\n    [").skip(1).filter_map(|rest| rest.split(']').next());
        done.extend(heads.flat_map(|head| head.split(',').map(|name| name.trim().to_owned())));
    }
    let mut out = String::from("use crate::Code;\n");
    for (file, code) in [("cuda", 801), ("nvml", 3)] {
        for line in read(&Path::new(&here).join(format!("../nvidia/names/{file}.txt"))).lines() {
            let name = line.split(char::is_whitespace).next().unwrap_or_default();
            if !done.contains(name) {
                writeln!(
                    out,
                    "#[unsafe(no_mangle)]\npub const extern \"C\" fn {name}() -> Code {{\n    {code}\n}}"
                )
                .expect("text");
            }
        }
    }
    let place = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&place).join("rest.rs"), out).expect("written");
}
