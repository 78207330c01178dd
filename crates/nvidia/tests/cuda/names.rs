//! The lists of names against NVIDIA's own files: headers of the packages that are installed, the names that its
//! libraries ask for, and the driver of this machine if it has one. A newer one with a name that the lists lack fails here.

use crate::bed::{self, python, skipped};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Release;

fn listed(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("names").join(file);
    let text = std::fs::read_to_string(path).expect("is there");
    text.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// Files below the packages of the Python of the tests.
fn files(accept: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Some(python) = python() else { return Vec::new() };
    let mut left = vec![python.parent().and_then(Path::parent).expect("a folder").join("lib")];
    let mut found = Vec::new();
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(path);
            } else if accept(&entry.file_name().to_string_lossy()) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).expect("readable")).into_owned()
}

fn is_name(word: &str, head: &str) -> bool {
    word.strip_prefix(head).is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_uppercase()))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
}

/// The text without comments, in which headers speak of functions too.
fn code(text: &str) -> String {
    let mut parts = text.split("/*");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.filter_map(|part| part.split_once("*/")).fold(first, |all, (_, code)| all + code)
}

/// The functions that a header declares or renames to.
fn of_header(text: &str, head: &str, mark: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for line in code(text).lines() {
        let words: Vec<&str> = words(line).collect();
        let declared = words.windows(2).filter(|pair| pair[0] == mark).map(|pair| pair[1]);
        all.extend(declared.filter(|word| is_name(word, head)).map(str::to_owned));
        if words.first() != Some(&"define") || words.len() < 3 || !is_name(words[1], head) {
            continue;
        }
        let target = words[words.len() - 1];
        if target.starts_with(words[1]) && words.len() <= 4 {
            let flavour = ["_ptsz", "_ptds"].into_iter().find(|end| {
                words[2].starts_with("__CUDA_API_PT") && words[2].to_lowercase().ends_with(&end[1..])
            });
            all.extend([target.to_owned(), format!("{target}{}", flavour.unwrap_or_default())]);
        }
    }
    all
}

#[test]
fn every_name_of_the_headers_is_listed() {
    let cuda = files(|name| ["cuda.h", "cudaGL.h", "cudaEGL.h", "cudaVDPAU.h"].contains(&name));
    if cuda.is_empty() {
        return;
    }
    let known = listed("cuda.txt");
    let mut seen = 0;
    for header in cuda {
        let names = of_header(&read(&header), "cu", "CUDAAPI");
        seen += names.len();
        let missing: Vec<_> = names.difference(&known).collect();
        assert!(missing.is_empty(), "{} has what names/cuda.txt lacks: {missing:?}", header.display());
    }
    assert!(seen > 1000, "only {seen} names were read: the headers look different now");
    let known = listed("nvml.txt");
    let headers = files(|name| name == "nvml.h");
    for header in &headers {
        let names = of_header(&read(header), "nvml", "DECLDIR");
        let missing: Vec<_> = names.difference(&known).collect();
        assert!(
            missing.is_empty() && names.len() > 300,
            "names/nvml.txt lacks: {missing:?} of {}",
            names.len()
        );
    }
    assert!(!headers.is_empty());
}

#[test]
fn every_name_that_libraries_of_nvidia_ask_for_is_listed() {
    let known = listed("cuda.txt");
    let libraries = files(|name| name.starts_with("libcudart.so") || name.starts_with("driver.cpython"));
    // The bindings have more modules of that name, with texts of their own that look like names.
    let inner = |path: &&PathBuf| {
        let text = path.to_string_lossy();
        text.contains("_internal") || text.contains("libcudart")
    };
    for library in libraries.iter().filter(inner) {
        let bytes = std::fs::read(library).expect("readable");
        let texts = bytes.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok());
        let whole = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let asked: BTreeSet<String> =
            texts.filter(|text| is_name(text, "cu")).filter(whole).map(str::to_owned).collect();
        let missing: Vec<_> = asked.difference(&known).collect();
        assert!(missing.is_empty(), "{} asks for what names/cuda.txt lacks: {missing:?}", library.display());
        assert!(asked.len() > 300 || !library.to_string_lossy().contains("libcudart"), "{}", asked.len());
    }
    let known = listed("nvml.txt");
    for module in files(|name| name == "pynvml.py") {
        let text = read(&module);
        let asked: BTreeSet<String> = text
            .split("_nvmlGetFunctionPointer(\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .map(str::to_owned)
            .collect();
        let missing: Vec<_> = asked.difference(&known).collect();
        assert!(
            missing.is_empty() && asked.len() > 300,
            "names/nvml.txt lacks: {missing:?} of {}",
            asked.len()
        );
    }
}

#[test]
fn every_name_of_this_machines_driver_is_listed() {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib"];
    let mut found = false;
    for (library, head, list) in
        [("libcuda.so.1", "cu", "cuda.txt"), ("libnvidia-ml.so.1", "nvml", "nvml.txt")]
    {
        let Some(path) = places.iter().map(|place| Path::new(place).join(library)).find(|path| path.exists())
        else {
            continue;
        };
        found = true;
        let told =
            std::process::Command::new("nm").args(["-D", "--defined-only"]).arg(&path).output().expect("nm");
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let names: BTreeSet<String> =
            words(&told).filter(|word| is_name(word, head)).map(str::to_owned).collect();
        let known = listed(list);
        let missing: Vec<_> = names.difference(&known).collect();
        assert!(
            missing.is_empty() && !names.is_empty(),
            "names/{list} lacks of {}: {missing:?}",
            path.display()
        );
    }
    if !found {
        skipped("names of a real NVIDIA driver: this machine has none");
    }
}

#[test]
fn the_library_has_an_entry_for_every_name() {
    let told = std::process::Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(bed::library("libpond_nvidia.so"))
        .output()
        .expect("nm runs");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let exported: BTreeSet<String> = words(&told).map(str::to_owned).collect();
    for name in listed("cuda.txt").iter().chain(&listed("nvml.txt")) {
        assert!(exported.contains(name), "{name}");
    }
}

/// What the runtime library of each version, and the bindings, ask the driver for: `name version flags found`.
fn asked(bare: bool, moved: bool) -> Option<Vec<BTreeSet<String>>> {
    let python = python()?;
    let libraries = files(|name| name.starts_with("libcudart.so"));
    let script = "import ctypes, sys\n\
        library = ctypes.CDLL(sys.argv[1])\n\
        number = ctypes.c_int()\n\
        assert library.cudaDriverGetVersion(ctypes.byref(number)) == 0\n\
        library.cudaGetDeviceCount(ctypes.byref(number))\n";
    let runs = libraries
        .iter()
        .map(|library| vec!["-c".to_owned(), script.to_owned(), library.display().to_string()]);
    let bindings = vec!["-c".to_owned(), "from cuda.bindings import driver\ndriver.cuInit(0)\n".to_owned()];
    let mut all = Vec::new();
    for arguments in runs.chain([bindings]) {
        let bed = bed::Bed::new(1 << 30, 1000);
        bed.machine.moved.store(u64::from(moved), Release);
        let list = bed.folder().join("asked");
        let done = bed
            .command(&python, bare)
            .args(arguments)
            .env("POND_NVIDIA_ASKED", &list)
            .output()
            .expect("runs");
        assert!(done.status.success(), "{done:?}");
        all.push(read(&list).lines().map(str::to_owned).collect());
    }
    Some(all)
}

#[test]
fn nvidias_runtime_of_two_versions_finds_every_name_it_asks_for() {
    let Some(bare) = asked(true, false) else { return };
    let ours = asked(false, false).expect("as above");
    assert_eq!(bare, ours, "the same is asked for and found");
    assert!(bare.len() >= 3, "two runtimes and the bindings");
    for list in &ours {
        // The runtime asks for no name at all, to see what a driver says to that.
        let unfound: Vec<_> =
            list.iter().filter(|line| line.ends_with("false") && !line.starts_with(' ')).collect();
        assert!(unfound.is_empty() && list.len() > 300, "{} {unfound:?}", list.len());
    }
}

#[test]
fn what_is_found_leads_here_also_when_the_driver_gives_other_addresses() {
    let Some(lists) = asked(true, false) else { return };
    let all: BTreeSet<String> = lists.into_iter().flatten().filter(|line| line.ends_with("true")).collect();
    let mut answers = Vec::new();
    for moved in [0, 1] {
        let bed = bed::Bed::new(1 << 30, 1000);
        bed.machine.moved.store(moved, Release);
        let list = bed.folder().join("list");
        std::fs::write(&list, all.iter().map(|line| format!("{line}\n")).collect::<String>())
            .expect("written");
        let mut client = bed.rust(&format!("find {}", list.display()));
        answers.push(client.hear());
        client.end();
    }
    assert_eq!(answers[0], answers[1]);
    let ours: BTreeSet<&str> = answers[0].split(' ').collect();
    for name in [
        "cuMemAlloc:0",
        "cuMemFree:0",
        "cuMemAllocAsync:2",
        "cuMemAllocFromPoolAsync:2",
        "cuMemCreate:0",
        "cuLaunchKernel:0",
        "cuLaunchKernel:2",
        "cuLaunchKernelEx:2",
        "cuLaunchCooperativeKernel:2",
        "cuGraphLaunch:2",
        "cuGraphInstantiate:0",
        "cuArray3DCreate:0",
        "cuMipmappedArrayCreate:0",
        "cuMemGetInfo:0",
        "cuCtxCreate:0",
        "cuStreamSynchronize:2",
    ] {
        assert!(ours.contains(name), "{name} of {ours:?}");
    }
}
