//! How clients find functions: the driver's answer, exchanged for the function here that stands for it.

use crate::abi::{Code, NOT_FOUND, SUCCESS};
use crate::link::{Function, call, hooks, real};
use crate::names::{CUDA, NAMES, at};
use std::ffi::{CStr, c_char};

/// The newest version of CUDA whose names are in the lists.
const NEWEST: i32 = 13_050;
/// `CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM`
const PER_THREAD: u64 = 2;
/// Names that take something of a share begin so. One that the lists lack, from a newer driver, is not given out.
const LIMITED: [&str; 9] = [
    "cuMemAlloc",
    "cuMemCreate",
    "cuMemFree",
    "cuArrayCreate",
    "cuArray3DCreate",
    "cuMipmappedArrayCreate",
    "cuLaunch",
    "cuGraphLaunch",
    "cuGraphInstantiate",
];

/// The function here that stands for this one of the driver.
fn ours(found: Function) -> Option<Function> {
    crate::link::all().find(|hook| hook.at < CUDA && real(hook.at) == found).map(|hook| hook.ours)
}

/// The number of the name that a version of CUDA means by `name`: the newest that is not newer.
fn meant(name: &str, version: i32, per_thread: bool) -> Option<usize> {
    let rank = |at: usize| {
        let (symbol, since) = NAMES[at];
        let symbol = symbol.to_str().ok()?;
        let plain = symbol.strip_suffix("_ptsz").or_else(|| symbol.strip_suffix("_ptds"));
        let is_version =
            |rest: &str| rest.strip_prefix("_v").is_some_and(|digits| digits.parse::<u32>().is_ok());
        let rest = plain.unwrap_or(symbol).strip_prefix(name)?;
        let fits =
            (rest.is_empty() || is_version(rest)) && since <= version && (per_thread || plain.is_none());
        fits.then_some((since, plain.is_some(), at))
    };
    // From version 12 on the name means the function with flags.
    if name == "cuGraphInstantiate" && version >= 12_000 {
        return Some(at::cuGraphInstantiateWithFlags);
    }
    (0..CUDA).filter_map(rank).max().map(|(_, _, at)| at)
}

/// What the client gets instead of the driver's answer; `None`: nothing.
fn exchange(name: &CStr, found: Function, version: i32, flags: u64) -> Option<Function> {
    if let Some(ours) = ours(found) {
        return Some(ours);
    }
    let text = name.to_string_lossy();
    // The driver may give out another address than the linker does.
    let known = version <= NEWEST || same_as_newest(name, found, flags);
    let meant = meant(&text, version.min(NEWEST), flags & PER_THREAD != 0).filter(|_| known);
    let hook = meant.map(|at| crate::link::all().find(|hook| hook.at == at));
    match hook {
        Some(Some(hook)) => Some(hook.ours),
        Some(None) => Some(found),
        None if LIMITED.iter().any(|head| text.starts_with(head)) => None,
        None => Some(found),
    }
}

/// Whether a function that a newer client asks for is the one of the newest version known here.
fn same_as_newest(name: &CStr, found: Function, flags: u64) -> bool {
    let mut older: Function = std::ptr::null_mut();
    // SAFETY: the type is the headers'.
    let done = unsafe {
        call!(cuGetProcAddress: fn(*const c_char, *mut Function, i32, u64), name.as_ptr(), &raw mut older, NEWEST, flags)
    };
    done == SUCCESS && older == found
}

fn answer(code: Code, name: *const c_char, out: *mut Function, version: i32, flags: u64) -> Code {
    if code != SUCCESS || name.is_null() || out.is_null() {
        return code;
    }
    // SAFETY: a C string, as the client promises; the driver wrote the other.
    let (name, found) = unsafe { (CStr::from_ptr(name), *out) };
    if found.is_null() {
        return code;
    }
    let given = exchange(name, found, version, flags);
    // SAFETY: the client's place.
    unsafe { out.write(given.unwrap_or(std::ptr::null_mut())) };
    if given.is_some() { code } else { NOT_FOUND }
}

hooks! {
    [cuGetProcAddress, cuGetProcAddress_ptsz] |real| (
        name: *const c_char, out: *mut Function, version: i32, flags: u64
    ) { answer(real(), name, out, version, flags) }
    [cuGetProcAddress_v2, cuGetProcAddress_v2_ptsz] |real| (
        name: *const c_char, out: *mut Function, version: i32, flags: u64, status: *mut i32
    ) {
        let code = answer(real(), name, out, version, flags);
        if code == NOT_FOUND && !status.is_null() {
            // SAFETY: the client's place; `CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND`.
            unsafe { status.write(1) };
        }
        code
    }
}
