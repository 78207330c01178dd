//! The real drivers: opened by name, asked for their platforms and devices, called through their tables.

use crate::abi::{ALL_DEVICES, Handle, Int, PLATFORM_VERSION, SUCCESS, Uint, Ulong};
use crate::names::{self, NAMES};
use std::ffi::{CString, c_char, c_void};
use std::path::Path;

/// A function of a table, of whatever type.
pub type Entry = *mut c_void;

/// What a driver hands to loaders: a function for each name.
#[derive(Clone, Debug)]
pub struct Table {
    /// Where the driver has it: the first word of each of its objects.
    pub at: *mut Entry,
    /// How many entries it has.
    pub length: usize,
    /// The driver's own functions; null where it has none.
    pub real: [Entry; NAMES.len()],
}

// SAFETY: addresses of functions and of a table that live as long as the process.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

/// Calls a driver's function by its place in the table: `call!(table, CREATE_BUFFER: fn(Handle) -> Int, handle)`. The
/// type is the one that OpenCL gives to this name; to be used inside `unsafe`.
#[macro_export]
macro_rules! call {
    ($table:expr, $name:literal: fn($($kind:ty),*) -> $result:ty, $($value:expr),*) => {{
        const AT: usize = $crate::names::index($name);
        let function = std::mem::transmute::<$crate::driver::Entry, unsafe extern "C" fn($($kind),*) -> $result>(
            $table.real[AT],
        );
        function($($value),*)
    }};
}

type ExtensionFunction = unsafe extern "C" fn(*const c_char) -> Entry;

/// A driver's library, open for as long as the process lives.
#[derive(Clone, Copy, Debug)]
pub struct Driver {
    extension: ExtensionFunction,
}

impl Driver {
    /// Opens a library by name or path. `None`: it cannot be opened, or is no driver.
    #[must_use]
    pub fn open(library: &str) -> Option<Self> {
        let library = CString::new(library).ok()?;
        // SAFETY: opening a driver runs its initializers, as every loader does.
        let opened = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if opened.is_null() {
            return None;
        }
        // SAFETY: an open library and a C string.
        let found = unsafe { libc::dlsym(opened, c"clGetExtensionFunctionAddress".as_ptr()) };
        if found.is_null() {
            return None;
        }
        // SAFETY: the name says the type, by the rules for drivers.
        let extension = unsafe { std::mem::transmute::<Entry, ExtensionFunction>(found) };
        Some(Self { extension })
    }

    /// The drivers that a folder of `.icd` files names, in the order of the files' names.
    #[must_use]
    pub fn open_all(folder: &Path) -> Vec<Self> {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|end| end == "icd")).collect();
        files.sort();
        let first_line = |text: String| text.lines().next().map(|line| line.trim().to_owned());
        let names = files.iter().filter_map(|path| std::fs::read_to_string(path).ok().and_then(first_line));
        names.filter_map(|name| Self::open(&name)).collect()
    }

    /// A function that is not in the table.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<Entry> {
        let name = CString::new(name).ok()?;
        // SAFETY: the driver's function, and a C string.
        let found = unsafe { (self.extension)(name.as_ptr()) };
        (!found.is_null()).then_some(found)
    }

    /// Its platforms.
    #[must_use]
    pub fn platforms(&self) -> Vec<Handle> {
        let Some(entry) = self.extension("clIcdGetPlatformIDsKHR") else { return Vec::new() };
        // SAFETY: the name says the type.
        let get = unsafe {
            std::mem::transmute::<Entry, unsafe extern "C" fn(Uint, *mut Handle, *mut Uint) -> Int>(entry)
        };
        // SAFETY: as OpenCL says; `list` asks for the number first.
        list(|room, out, count| unsafe { get(room, out, count) })
    }
}

/// Asks a function for how many there are, then for them.
pub fn list(get: impl Fn(Uint, *mut Handle, *mut Uint) -> Int) -> Vec<Handle> {
    let mut count: Uint = 0;
    if get(0, std::ptr::null_mut(), &raw mut count) != SUCCESS {
        return Vec::new();
    }
    let mut all: Vec<Handle> = vec![std::ptr::null_mut(); count as usize];
    if get(count, all.as_mut_ptr(), std::ptr::null_mut()) != SUCCESS {
        return Vec::new();
    }
    all
}

impl Table {
    /// Where the table of an object stands.
    ///
    /// # Safety
    /// `object` is a live handle of a driver.
    #[must_use]
    pub unsafe fn place(object: Handle) -> *mut Entry {
        // SAFETY: the first word of every object is its driver's table.
        unsafe { *object.cast::<*mut Entry>() }
    }

    /// Reads the table of a platform, as long as its version says it is.
    ///
    /// # Safety
    /// `platform` is a platform of a driver whose table was not changed yet.
    #[must_use]
    pub unsafe fn read(platform: Handle) -> Self {
        // SAFETY: the caller's promise.
        let at = unsafe { Self::place(platform) };
        let mut table = Self { at, length: 0, real: [std::ptr::null_mut(); NAMES.len()] };
        // SAFETY: every table has the entries of the oldest version.
        unsafe { table.read_to(names::entries("")) };
        // SAFETY: the platform is the table's own, and the function one of the oldest.
        let version = unsafe { table.platform_text(platform, PLATFORM_VERSION) };
        // SAFETY: it has what its version has.
        unsafe { table.read_to(names::entries(&version)) };
        table
    }

    /// Reads entries up to this length, which the table has.
    unsafe fn read_to(&mut self, length: usize) {
        for at in self.length..length {
            // SAFETY: the caller's promise.
            self.real[at] = unsafe { self.at.add(at).read() };
        }
        self.length = length;
    }

    /// All devices of a platform.
    ///
    /// # Safety
    /// `platform` is a live platform of this table.
    #[must_use]
    pub unsafe fn devices(&self, platform: Handle, kind: Ulong) -> Vec<Handle> {
        // SAFETY: the type is OpenCL's.
        list(|room, out, count| unsafe {
            call!(self, "clGetDeviceIDs": fn(Handle, Ulong, Uint, *mut Handle, *mut Uint) -> Int, platform, kind, room, out, count)
        })
    }

    /// Every device of a platform, whatever its kind.
    ///
    /// # Safety
    /// As [`Self::devices`].
    #[must_use]
    pub unsafe fn all_devices(&self, platform: Handle) -> Vec<Handle> {
        // SAFETY: the caller's promise.
        unsafe { self.devices(platform, ALL_DEVICES) }
    }

    unsafe fn platform_text(&self, platform: Handle, what: Uint) -> String {
        // SAFETY: the type is OpenCL's.
        read_text(|size, out, length| unsafe {
            call!(self, "clGetPlatformInfo": fn(Handle, Uint, usize, *mut c_void, *mut usize) -> Int, platform, what, size, out, length)
        })
    }

    /// A text that a device says of itself.
    ///
    /// # Safety
    /// `device` is a live device of this table.
    #[must_use]
    pub unsafe fn device_text(&self, device: Handle, what: Uint) -> String {
        // SAFETY: the type is OpenCL's.
        read_text(|size, out, length| unsafe {
            call!(self, "clGetDeviceInfo": fn(Handle, Uint, usize, *mut c_void, *mut usize) -> Int, device, what, size, out, length)
        })
    }

    /// A value of 8 bytes that a device says of itself: a number, or a handle.
    ///
    /// # Safety
    /// `device` is a live device of this table, and `what` a value of 8 bytes.
    #[must_use]
    pub unsafe fn device_word(&self, device: Handle, what: Uint) -> Option<u64> {
        let mut word = 0_u64;
        // SAFETY: the type is OpenCL's, and there is room for 8 bytes.
        let done = unsafe {
            call!(self, "clGetDeviceInfo": fn(Handle, Uint, usize, *mut c_void, *mut usize) -> Int, device, what, 8, (&raw mut word).cast(), std::ptr::null_mut())
        };
        (done == SUCCESS).then_some(word)
    }
}

fn read_text(get: impl Fn(usize, *mut c_void, *mut usize) -> Int) -> String {
    let mut length = 0;
    if get(0, std::ptr::null_mut(), &raw mut length) != SUCCESS {
        return String::new();
    }
    let mut bytes = vec![0_u8; length];
    if get(length, bytes.as_mut_ptr().cast(), std::ptr::null_mut()) != SUCCESS {
        return String::new();
    }
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').trim().to_owned()
}
