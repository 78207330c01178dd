//! What this library knows of its process: drivers, their tables, the devices that have a share. Made once.

use crate::abi::{ALL_DEVICES, CONTEXT_DEVICES, Handle, Int, PARENT_DEVICE, QUEUE_DEVICE, SUCCESS, Uint};
use crate::call;
use crate::driver::{Driver, Entry, Table};
use crate::{info, launch, memory};
use pond_share::Member;
use std::ffi::{CStr, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Most shares of one task.
pub const SHARES: usize = 16;

/// A device that may be used, and as how much.
#[derive(Debug)]
pub struct Granted {
    device: Handle,
    member: &'static Member,
}

/// All of it.
#[derive(Debug)]
pub struct State {
    drivers: Vec<Driver>,
    tables: Vec<Table>,
    platforms: Vec<Handle>,
    granted: Vec<Granted>,
}

// SAFETY: handles of platforms and root devices live as long as the process, and OpenCL lets all threads use them.
unsafe impl Send for State {}
// SAFETY: as above.
unsafe impl Sync for State {}

static STATE: OnceLock<State> = OnceLock::new();

/// Made at the loader's first call.
pub fn get() -> &'static State {
    STATE.get_or_init(|| State::make(&folder().unwrap_or_default()))
}

/// The folder this library was opened from.
fn folder() -> Option<PathBuf> {
    // SAFETY: all zero is a valid `Dl_info`.
    let mut found: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: an address within this library, and room for the answer.
    let done = unsafe { libc::dladdr(folder as *const c_void, &raw mut found) };
    if done == 0 || found.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the dynamic linker's own string, which lives as long as the library.
    let name = unsafe { CStr::from_ptr(found.dli_fname) }.to_str().ok()?;
    Path::new(name).parent().map(Path::to_owned)
}

impl State {
    /// Nothing at all when a share is there and cannot be joined.
    fn make(folder: &Path) -> Self {
        let mut state =
            Self { drivers: Vec::new(), tables: Vec::new(), platforms: Vec::new(), granted: Vec::new() };
        let paths = (0..SHARES).map(|number| folder.join(number.to_string()));
        let joined: Result<Vec<_>, _> = paths
            .take_while(|path| path.with_extension("terms").exists())
            .map(|path| Member::join(&path))
            .collect();
        let members = match joined {
            Ok(members) => members,
            Err(error) => {
                eprintln!("pond: no OpenCL device is shown: {error}");
                return state;
            }
        };
        state.drivers = Driver::open_all(&folder.join("drivers"));
        let platforms: Vec<Handle> = state.drivers.iter().flat_map(Driver::platforms).collect();
        for (number, platform) in platforms.into_iter().enumerate() {
            state.take(number as u64, platform, &members);
        }
        state
    }

    /// Takes in a platform if it has a device with a share.
    fn take(&mut self, number: u64, platform: Handle, members: &[&'static Member]) {
        // SAFETY: a platform of a driver, just listed.
        let place = unsafe { Table::place(platform) };
        let known = self.tables.iter().find(|table| table.at == place).cloned();
        // SAFETY: a table that is not known was not changed.
        let table = known.clone().unwrap_or_else(|| unsafe { Table::read(platform) });
        // SAFETY: the platform is the table's.
        let devices = unsafe { table.devices(platform, ALL_DEVICES) };
        let before = self.granted.len();
        for (ordinal, device) in devices.into_iter().enumerate() {
            let address = number << 32 | ordinal as u64;
            let member = members.iter().find(|member| member.device() == address);
            self.granted.extend(member.map(|member| Granted { device, member }));
        }
        if self.granted.len() == before {
            return;
        }
        if known.is_none() {
            // SAFETY: the table is as long as it was read.
            unsafe { replace(&table) };
            self.tables.push(table);
        }
        self.platforms.push(platform);
    }

    /// The platforms that are shown.
    pub fn platforms(&self) -> &[Handle] {
        &self.platforms
    }

    /// The drivers behind.
    pub fn drivers(&self) -> &[Driver] {
        &self.drivers
    }

    /// The driver's own table of an object.
    ///
    /// # Safety
    /// `object` is a live handle that a driver of ours made.
    pub unsafe fn table(&self, object: Handle) -> &Table {
        // SAFETY: the caller's promise.
        let place = unsafe { Table::place(object) };
        // Only tables that stand here were changed to lead here.
        self.tables.iter().find(|table| table.at == place).unwrap_or(&self.tables[0])
    }

    /// The share that a device is used under; of a part of a device, its whole's.
    ///
    /// # Safety
    /// `device` is a live device.
    pub unsafe fn share(&self, mut device: Handle) -> Option<&'static Member> {
        loop {
            if let Some(granted) = self.granted.iter().find(|granted| granted.device == device) {
                return Some(granted.member);
            }
            // SAFETY: the caller's promise, and parents live as long as their parts.
            let parent = unsafe { self.table(device).device_word(device, PARENT_DEVICE) }?;
            device = (parent != 0).then_some(parent as Handle)?;
        }
    }

    /// Of these devices, those that have a share.
    pub fn shown(&self, devices: Vec<Handle>) -> Vec<Handle> {
        devices
            .into_iter()
            .filter(|device| self.granted.iter().any(|granted| granted.device == *device))
            .collect()
    }

    /// The shares of a context: what is allocated in it may come to stand on each of its devices.
    ///
    /// # Safety
    /// `context` is a live context.
    pub unsafe fn shares_of_context(&self, context: Handle) -> Shares {
        let mut shares = Shares([None; SHARES]);
        if let [only] = self.granted.as_slice() {
            shares.add(only.member);
            return shares;
        }
        let mut devices: [Handle; 64] = [std::ptr::null_mut(); 64];
        let mut size = 0;
        // SAFETY: the type is OpenCL's, and there is room for as much as is said.
        let done = unsafe {
            call!(self.table(context), "clGetContextInfo": fn(Handle, Uint, usize, *mut c_void, *mut usize) -> Int,
                context, CONTEXT_DEVICES, size_of_val(&devices), devices.as_mut_ptr().cast(), &raw mut size)
        };
        if done == SUCCESS {
            for device in devices.iter().take(size / size_of::<Handle>()) {
                // SAFETY: a device of a live context.
                unsafe { self.share(*device) }.into_iter().for_each(|member| shares.add(member));
            }
        } else {
            self.granted.iter().for_each(|granted| shares.add(granted.member));
        }
        shares
    }

    /// The share of a command queue.
    ///
    /// # Safety
    /// `queue` is a live queue.
    pub unsafe fn share_of_queue(&self, queue: Handle) -> Option<&'static Member> {
        if let [only] = self.granted.as_slice() {
            return Some(only.member);
        }
        let mut device: Handle = std::ptr::null_mut();
        // SAFETY: the type is OpenCL's, and there is room for a handle.
        let done = unsafe {
            call!(self.table(queue), "clGetCommandQueueInfo": fn(Handle, Uint, usize, *mut c_void, *mut usize) -> Int,
                queue, QUEUE_DEVICE, size_of::<Handle>(), (&raw mut device).cast(), std::ptr::null_mut())
        };
        // SAFETY: the device of a live queue.
        if done == SUCCESS { unsafe { self.share(device) } } else { None }
    }
}

/// Some shares, each once.
#[derive(Clone, Copy, Debug)]
pub struct Shares([Option<&'static Member>; SHARES]);

impl Shares {
    fn add(&mut self, member: &'static Member) {
        let known = self.iter().any(|other| std::ptr::eq(other, member));
        if let Some(free) = self.0.iter_mut().find(|place| place.is_none()).filter(|_| !known) {
            *free = Some(member);
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &'static Member> {
        self.0.iter().flatten().copied()
    }
}

/// Every function that is replaced: its place in the table, and ours.
pub fn hooks() -> impl Iterator<Item = (usize, Entry)> {
    memory::HOOKS.iter().chain(launch::HOOKS).chain(info::HOOKS).map(|hook| (hook.at, hook.ours))
}

/// One replaced function.
#[derive(Debug)]
pub struct Hook {
    /// Its place in the table.
    pub at: usize,
    /// Ours.
    pub ours: Entry,
}

// SAFETY: an address of a function.
unsafe impl Sync for Hook {}

/// Replaces the functions of a driver's table where it stands, so that the driver's objects lead here whoever made them.
///
/// # Safety
/// The table is `table.length` entries long, and no other thread calls through it yet.
unsafe fn replace(table: &Table) {
    let page = 4096;
    let from = table.at as usize / page * page;
    let to = (table.at as usize + table.length * size_of::<Entry>()).next_multiple_of(page);
    // SAFETY: the pages of a table that exists. A table in memory that is read-only after linking becomes writable.
    let writable =
        unsafe { libc::mprotect(from as *mut c_void, to - from, libc::PROT_READ | libc::PROT_WRITE) } == 0;
    for (at, ours) in hooks().filter(|&(at, _)| writable && at < table.length && !table.real[at].is_null()) {
        // SAFETY: within the table, on pages that may be written.
        unsafe { table.at.add(at).write(ours) };
    }
}
