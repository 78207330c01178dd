//! The real libraries: opened at the first call of a name of theirs, and two tables of functions.
//!
//! [`SLOTS`] says where an entry leads: to a function here, or straight to the real one. [`REAL`] has the real ones
//! for those that lead here.

use crate::abi::{Code, NO_DEVICE, NVML_NO_LIBRARY};
use crate::names::{ALL, CUDA, NAMES, first};
use crate::{array, context, find, graph, launch, memory, nvml, pool, share, virtual_memory};
use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::sync::Once;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Release};

/// A function of whatever type.
pub type Function = *mut c_void;

/// Where each entry leads.
pub static SLOTS: [AtomicPtr<c_void>; ALL] = [const { AtomicPtr::new(first as *mut c_void) }; ALL];
static REAL: [AtomicPtr<c_void>; ALL] = [const { AtomicPtr::new(std::ptr::null_mut()) }; ALL];

/// A function that stands here for one of the driver's.
pub struct Hook {
    /// The number of its name.
    pub at: usize,
    /// It.
    pub ours: Function,
}

// SAFETY: addresses of functions.
unsafe impl Sync for Hook {}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Hook> {
    let lists: [&[Hook]; 8] = [
        find::HOOKS,
        context::HOOKS,
        memory::HOOKS,
        array::HOOKS,
        pool::HOOKS,
        virtual_memory::HOOKS,
        graph::HOOKS,
        launch::HOOKS,
    ];
    lists.into_iter().chain([nvml::HOOKS]).flatten()
}

extern "C" fn no_cuda() -> Code {
    NO_DEVICE
}

extern "C" fn no_nvml() -> Code {
    NVML_NO_LIBRARY
}

static CUDA_OPEN: Once = Once::new();
static NVML_OPEN: Once = Once::new();

/// Opens the library that has this name, and says where its entry leads now. Of a library that is not there, every
/// function fails as when the machine has no device.
pub extern "C" fn bind(at: u32) -> Function {
    let at = at as usize;
    if at < CUDA {
        CUDA_OPEN.call_once(|| fill("libcuda.so.1", 0..CUDA, no_cuda as Function));
    } else {
        NVML_OPEN.call_once(|| fill("libnvidia-ml.so.1", CUDA..ALL, no_nvml as Function));
    }
    SLOTS[at].load(Acquire)
}

fn fill(library: &str, range: std::ops::Range<usize>, absent: Function) {
    let path = share::folder().join("driver").join(library);
    // By its path it is another library than this one, whatever both are called; and it finds its own functions before
    // those here, which the loader knows already.
    let flags = libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_DEEPBIND;
    let opened = CString::new(path.as_os_str().as_bytes())
        // SAFETY: opening a driver runs its initializers, as every client does.
        .map_or(std::ptr::null_mut(), |path| unsafe { libc::dlopen(path.as_ptr(), flags) });
    if opened.is_null() {
        eprintln!("pond: cannot open the driver's library at {}", path.display());
    }
    for at in range.clone() {
        // SAFETY: an open library and a C string.
        let found = if opened.is_null() {
            std::ptr::null_mut()
        } else {
            // SAFETY: as above.
            unsafe { libc::dlsym(opened, NAMES[at].0.as_ptr()) }
        };
        REAL[at].store(if found.is_null() { absent } else { found }, Release);
    }
    let mut targets: Vec<Function> = range.clone().map(|at| REAL[at].load(Acquire)).collect();
    for hook in all().filter(|hook| range.contains(&hook.at) && !opened.is_null()) {
        targets[hook.at - range.start] = hook.ours;
    }
    for (at, target) in range.zip(targets) {
        SLOTS[at].store(target, Release);
    }
}

/// The driver's function of a name; it may be one that only says that there is none.
#[inline]
pub fn real(at: usize) -> Function {
    let found = REAL[at].load(Acquire);
    if found.is_null() {
        bind(at as u32);
        return REAL[at].load(Acquire);
    }
    found
}

/// Calls a driver's function by its name: `call!(cuMemFree_v2: fn(Ptr), at)`. The type is the one in the headers;
/// to be used inside `unsafe`.
macro_rules! call {
    ($name:ident: fn($($kind:ty),*) $(, $value:expr)*) => {{
        let function = std::mem::transmute::<$crate::link::Function, unsafe extern "C" fn($($kind),*) -> $crate::abi::Code>(
            $crate::link::real($crate::names::at::$name),
        );
        function($($value),*)
    }};
}
pub(crate) use call;

/// Functions that stand for the driver's, and their list. Names in one bracket have one body; `real` in it is the
/// driver's function of the name that was called.
macro_rules! hooks {
    ($([$($name:ident),+] |$real:ident| $arguments:tt $body:block)*) => {
        $($crate::link::hooks!(@each [$($name),+] $real $arguments $body);)*
        /// Of this module.
        pub static HOOKS: &[$crate::link::Hook] = &[$($($crate::link::Hook {
            at: $crate::names::at::$name,
            ours: $name as *mut std::ffi::c_void,
        }),+),*];
    };
    (@each [$($name:ident),+] $real:ident $arguments:tt $body:block) => {
        $($crate::link::hooks!(@one $name $real $arguments $body);)+
    };
    (@one $name:ident $real:ident ($($argument:ident: $kind:ty),* $(,)?) $body:block) => {
        unsafe extern "C" fn $name($($argument: $kind),*) -> $crate::abi::Code {
            // SAFETY: the type is the one in the headers, and the arguments are the client's.
            let $real = || unsafe { $crate::link::call!($name: fn($($kind),*) $(, $argument)*) };
            $body
        }
    };
}
pub(crate) use hooks;
