//! What a task is told: the devices it has a share of, with the share's memory as theirs.

use crate::abi::{
    CONTEXT_PLATFORM, DEVICE_MEMORY, DEVICE_NOT_FOUND, FREE_MEMORY_AMD, Handle, INVALID_PLATFORM,
    INVALID_VALUE, Int, MAX_ALLOCATION, SUCCESS, Uint, Ulong, hand_out, text,
};
use crate::driver::Entry;
use crate::state::{self, Hook, State};
use crate::{call, names};
use std::ffi::{c_char, c_void};

/// The platform a caller names; the first where it names none.
fn named(state: &State, platform: Handle) -> Option<Handle> {
    if platform.is_null() { state.platforms().first().copied() } else { Some(platform) }
}

unsafe extern "C" fn device_ids(
    platform: Handle,
    kind: Ulong,
    room: Uint,
    devices: *mut Handle,
    count: *mut Uint,
) -> Int {
    let state = state::get();
    let Some(platform) = named(state, platform) else { return DEVICE_NOT_FOUND };
    if devices.is_null() && count.is_null() || !devices.is_null() && room == 0 {
        return INVALID_VALUE;
    }
    // SAFETY: a live platform.
    let shown = unsafe { state.shown(state.table(platform).devices(platform, kind)) };
    if shown.is_empty() {
        return DEVICE_NOT_FOUND;
    }
    // SAFETY: the caller's promise.
    unsafe { hand_out(&shown, room, devices, count) };
    SUCCESS
}

unsafe extern "C" fn device_info(
    device: Handle,
    what: Uint,
    size: usize,
    out: *mut c_void,
    length: *mut usize,
) -> Int {
    let state = state::get();
    // SAFETY: the arguments are the caller's.
    let done = unsafe {
        call!(state.table(device), "clGetDeviceInfo": fn(Handle, Uint, usize, *mut c_void, *mut usize) -> Int, device, what, size, out, length)
    };
    if done != SUCCESS
        || out.is_null()
        || size < 8
        || !matches!(what, DEVICE_MEMORY | MAX_ALLOCATION | FREE_MEMORY_AMD)
    {
        return done;
    }
    // SAFETY: a live device.
    if let Some(member) = unsafe { state.share(device) } {
        let most = match what {
            FREE_MEMORY_AMD => member.memory().saturating_sub(member.used()) >> 10,
            _ => member.memory(),
        };
        let word = out.cast::<Ulong>();
        // SAFETY: 8 bytes that the driver has just written, aligned or not.
        unsafe { word.write_unaligned(word.read_unaligned().min(most)) };
    }
    done
}

/// Asked of the driver that the platform is of. A loader may come for it before it has a table, by
/// `clGetExtensionFunctionAddress`, and one function stands for all drivers there; some drivers have no answer to that.
unsafe extern "C" fn platform_info(
    platform: Handle,
    what: Uint,
    size: usize,
    out: *mut c_void,
    length: *mut usize,
) -> Int {
    let state = state::get();
    let Some(platform) = named(state, platform) else { return INVALID_PLATFORM };
    // SAFETY: the arguments are the caller's.
    unsafe {
        call!(state.table(platform), "clGetPlatformInfo": fn(Handle, Uint, usize, *mut c_void, *mut usize) -> Int, platform, what, size, out, length)
    }
}

type Notify = Option<unsafe extern "C" fn(*const c_char, *const c_void, usize, *mut c_void)>;

/// The driver would take its own list of devices; ours has those with a share.
unsafe extern "C" fn context_from_type(
    properties: *const isize,
    kind: Ulong,
    notify: Notify,
    data: *mut c_void,
    code: *mut Int,
) -> Handle {
    let state = state::get();
    let mut platform = state.platforms().first().copied();
    let mut at = 0;
    // SAFETY: pairs up to a zero, as OpenCL says.
    while !properties.is_null() && unsafe { *properties.add(at) } != 0 {
        // SAFETY: a key has a value.
        let (key, value) = unsafe { (*properties.add(at), *properties.add(at + 1)) };
        if key == CONTEXT_PLATFORM {
            platform = Some(value as Handle);
        }
        at += 2;
    }
    // SAFETY: a live platform.
    let shown = platform
        .map_or(Vec::new(), |platform| unsafe { state.shown(state.table(platform).devices(platform, kind)) });
    let Some(platform) = platform.filter(|_| !shown.is_empty()) else {
        if !code.is_null() {
            // SAFETY: valid, as the caller promises.
            unsafe { code.write(DEVICE_NOT_FOUND) };
        }
        return std::ptr::null_mut();
    };
    // SAFETY: the arguments are the caller's, and the devices are live.
    unsafe {
        call!(state.table(platform), "clCreateContext": fn(*const isize, Uint, *const Handle, Notify, *mut c_void, *mut Int) -> Handle,
            properties, shown.len() as Uint, shown.as_ptr(), notify, data, code)
    }
}

unsafe extern "C" fn extension_for_platform(platform: Handle, name: *const c_char) -> Entry {
    // SAFETY: a C string or null, as OpenCL says.
    let Some(name) = (unsafe { text(name) }) else { return std::ptr::null_mut() };
    extension(name, |name| {
        let name = std::ffi::CString::new(name).ok()?;
        // SAFETY: a live platform and a C string.
        let found = unsafe {
            call!(state::get().table(platform), "clGetExtensionFunctionAddressForPlatform": fn(Handle, *const c_char) -> Entry, platform, name.as_ptr())
        };
        (!found.is_null()).then_some(found)
    })
}

/// Beginnings of names of extensions that allocate or launch past what is counted here, or that hand a loader another
/// table than the one that was changed. They are not there.
const PAST: [&str; 12] = [
    "clCreateCommandBuffer",
    "clEnqueueCommandBuffer",
    "clCommand",
    "clHostMemAlloc",
    "clDeviceMemAlloc",
    "clSharedMemAlloc",
    "clSVMAllocARM",
    "clImportMemory",
    "clCreateBufferWithPropertiesINTEL",
    "clCreateImageWithPropertiesINTEL",
    "clIcdGetFunctionAddress",
    "clIcdSetPlatform",
];

/// The function of a name: ours if it is replaced, none if it would lead past us, else the driver's.
pub fn extension(name: &str, real: impl Fn(&str) -> Option<Entry>) -> Entry {
    let ours = state::hooks().find(|&(at, _)| names::NAMES[at] == name);
    if let Some((_, ours)) = ours {
        return ours;
    }
    let past = PAST.iter().any(|beginning| name.starts_with(beginning));
    let found = if past { None } else { real(name) };
    found.unwrap_or(std::ptr::null_mut())
}

/// The functions replaced here.
pub static HOOKS: &[Hook] = &[
    Hook { at: names::index("clGetDeviceIDs"), ours: device_ids as *mut c_void },
    Hook { at: names::index("clGetPlatformInfo"), ours: platform_info as *mut c_void },
    Hook { at: names::index("clGetDeviceInfo"), ours: device_info as *mut c_void },
    Hook { at: names::index("clCreateContextFromType"), ours: context_from_type as *mut c_void },
    Hook {
        at: names::index("clGetExtensionFunctionAddressForPlatform"),
        ours: extension_for_platform as *mut c_void,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_past_the_functions_that_count() {
        let driver = |_: &str| Some(7 as Entry);
        assert_eq!(
            extension("clCreateBuffer", driver),
            state::hooks().find(|&(at, _)| at == names::index("clCreateBuffer")).expect("ours").1
        );
        for past in [
            "clCreateCommandBufferKHR",
            "clCommandNDRangeKernelKHR",
            "clDeviceMemAllocINTEL",
            "clSVMAllocARM",
        ] {
            assert!(extension(past, driver).is_null(), "{past}");
        }
        assert_eq!(extension("clGetKernelSubGroupInfoKHR", driver), 7 as Entry);
    }

    #[test]
    fn each_function_is_replaced_once() {
        let mut places: Vec<usize> = state::hooks().map(|(at, _)| at).collect();
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), count);
    }
}
