//! MIG by NVML: what a GPU can be cut into, what stands on it, and making and destroying that.
//!
//! `nvml-wrapper` has MIG's modes and devices, no instances, and its list of placements is always empty (0.13), so this
//! speaks to the library itself. It decides nothing and remembers nothing: which instances are whose is the node's to know.
//!
//! An instance is made of two: a GPU instance, which has the memory and the engines, and in it a compute instance,
//! here always one over the whole of it. Only together they are a device that a program can use, with a UUID of its own.
//! Every call looks its device up by UUID, for a device that was reset has other handles. NVML may be called from any thread;
//! two that change one device at a time are the caller's to keep apart.

use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings as sys;
use nvml_wrapper_sys::bindings::NvmlLib;
use std::ffi::{CStr, CString};
use std::path::Path;
use std::ptr::null_mut;

/// Sorts of profiles that are asked for: those of this NVML and room for those of the next.
const SORTS: u32 = 32;
/// Length of a UUID with its kind before it and a zero behind, as NVML's header has it.
const UUID_ROOM: usize = 96;
/// Most compute instances of a sort in a GPU instance.
const COMPUTE_ROOM: usize = 16;

/// Why NVML did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MigError {
    /// Something stands there, or something else of the device is used up. `nvml-wrapper` has no word for it.
    #[error("the device has no room for it ({0})")]
    NoRoom(&'static str),
    /// Any other answer.
    #[error("{call}: {source}")]
    Refused {
        /// The function of NVML.
        call: &'static str,
        /// Its answer.
        source: NvmlError,
    },
}

impl MigError {
    fn new(call: &'static str, source: NvmlError) -> Self {
        match source {
            NvmlError::UnexpectedVariant(sys::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_RESOURCES) => {
                Self::NoRoom(call)
            }
            source => Self::Refused { call, source },
        }
    }

    /// What was asked for does not exist.
    const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { source: NvmlError::NotFound, .. })
    }

    /// There is no such sort of thing on this device.
    const fn is_unknown(&self) -> bool {
        matches!(self, Self::Refused { source: NvmlError::NotSupported | NvmlError::InvalidArg, .. })
    }
}

/// What a GPU can be cut into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The driver's number of it.
    pub id: u32,
    /// Its name without `MIG`: `1g.10gb+me`.
    pub name: String,
    /// Memory slices that an instance takes.
    pub size: u32,
    /// Slices at which one may begin, ascending.
    pub starts: Vec<u32>,
    /// Memory of an instance, MiB.
    pub memory_mib: u64,
    /// Its multiprocessors.
    pub multiprocessors: u32,
    /// Most instances at a time.
    pub most: u32,
}

/// A GPU instance that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The driver's number of it on its device; used again when it is gone.
    pub id: u32,
    /// The driver's number of its profile.
    pub profile: u32,
    /// Its first memory slice.
    pub start: u32,
    /// Its compute instances: number, and UUID as CUDA knows it.
    pub devices: Vec<(u32, String)>,
}

/// What a GPU's remapper of memory rows did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Rows that were remapped, for whatever errors.
    pub remapped: u32,
    /// Whether some wait for the device's next reset.
    pub pending: bool,
    /// Whether remapping failed at any time in its life.
    pub failed: bool,
}

/// NVML, for MIG.
pub struct Mig {
    lib: NvmlLib,
}

/// Calls a function of NVML; `MigError` says which.
macro_rules! call {
    ($mig:expr, $name:ident($($argument:expr),*)) => {{
        let fail = |source| MigError::new(stringify!($name), source);
        let function = nvml_sym($mig.lib.$name.as_ref()).map_err(fail)?;
        // SAFETY: the function has the type that the header gives it; handles are those that NVML gave out, pointers are to
        // places of this function, with as much room as is said.
        nvml_try(unsafe { function($($argument),*) }).map_err(fail)
    }};
}

impl Drop for Mig {
    fn drop(&mut self) {
        if let Ok(shutdown) = &self.lib.nvmlShutdown {
            // SAFETY: it was started; what it says nobody can use.
            unsafe { shutdown() };
        }
    }
}

/// A new, empty list of handles with so much room.
fn room<T>(length: usize) -> Vec<*mut T> {
    vec![null_mut(); length]
}

/// A struct of NVML's, all zero.
fn zeroed<T: Copy>() -> T {
    // SAFETY: only called for structs of the header, which are numbers, arrays of numbers and pointers: zero is one of each.
    unsafe { std::mem::zeroed() }
}

impl Mig {
    /// Opens NVML, by a path or by a name that the loader knows.
    ///
    /// # Errors
    /// It is not there, or does not start.
    pub fn open(library: &Path) -> Result<Self, MigError> {
        let fail = |source| MigError::new("dlopen", source);
        // SAFETY: what a library does when it is loaded is its maker's; this one is the driver's.
        let lib = unsafe { NvmlLib::new(library) }.map_err(|why| fail(NvmlError::LibloadingError(why)))?;
        let mig = Self { lib };
        call!(mig, nvmlInit_v2())?;
        Ok(mig)
    }

    fn device(&self, uuid: &str) -> Result<sys::nvmlDevice_t, MigError> {
        let fail = |why| MigError::new("nvmlDeviceGetHandleByUUID", NvmlError::NulError(why));
        let text = CString::new(uuid).map_err(fail)?;
        let mut device = null_mut();
        call!(self, nvmlDeviceGetHandleByUUID(text.as_ptr(), &raw mut device))?;
        Ok(device)
    }

    /// The number in the device's file name, and in the kernel's list of capabilities.
    ///
    /// # Errors
    /// NVML refuses, as it does for a device that is gone.
    pub fn minor(&self, uuid: &str) -> Result<u32, MigError> {
        let mut minor = 0;
        call!(self, nvmlDeviceGetMinorNumber(self.device(uuid)?, &raw mut minor))?;
        Ok(minor)
    }

    /// What became of bad rows of a device's memory. Beside MIG, and here for `nvml-wrapper` (0.13) does not ask for it.
    ///
    /// # Errors
    /// NVML refuses, as it does for devices that remap none and for those in MIG mode.
    pub fn rows(&self, uuid: &str) -> Result<Rows, MigError> {
        let [mut corrected, mut uncorrected, mut pending, mut failed] = [0; 4];
        call!(
            self,
            nvmlDeviceGetRemappedRows(
                self.device(uuid)?,
                &raw mut corrected,
                &raw mut uncorrected,
                &raw mut pending,
                &raw mut failed
            )
        )?;
        let remapped = corrected.saturating_add(uncorrected);
        Ok(Rows { remapped, pending: pending != 0, failed: failed != 0 })
    }

    /// What a device in MIG mode can be cut into, profiles of graphics (`+gfx`) among it.
    ///
    /// # Errors
    /// NVML refuses, as it does for a device that is not in MIG mode.
    pub fn profiles(&self, uuid: &str) -> Result<Vec<Profile>, MigError> {
        let device = self.device(uuid)?;
        let mut found = Vec::new();
        for sort in 0..SORTS {
            let mut info: sys::nvmlGpuInstanceProfileInfo_v2_t = zeroed();
            info.version = 2 << 24 | size_of::<sys::nvmlGpuInstanceProfileInfo_v2_t>() as u32;
            match call!(self, nvmlDeviceGetGpuInstanceProfileInfoV(device, sort, &raw mut info)) {
                Err(why) if why.is_unknown() => continue,
                done => done?,
            }
            // SAFETY: the driver's text ends within its room, whose last byte was zero.
            let name = unsafe { CStr::from_ptr(info.name.as_ptr()) }.to_string_lossy();
            let name = name.trim_start_matches("MIG ").to_owned();
            let placements = self.placements(device, info.id)?;
            let Some(size) = placements.iter().map(|place| place.size).max() else { continue };
            let mut starts: Vec<u32> = placements.iter().map(|place| place.start).collect();
            starts.sort_unstable();
            let (id, most) = (info.id, info.instanceCount);
            let (memory_mib, multiprocessors) = (info.memorySizeMB, info.multiprocessorCount);
            found.push(Profile { id, name, size, starts, memory_mib, multiprocessors, most });
        }
        Ok(found)
    }

    fn placements(
        &self,
        device: sys::nvmlDevice_t,
        profile: u32,
    ) -> Result<Vec<sys::nvmlGpuInstancePlacement_t>, MigError> {
        let mut count = 0;
        call!(
            self,
            nvmlDeviceGetGpuInstancePossiblePlacements_v2(device, profile, null_mut(), &raw mut count)
        )?;
        let mut all = vec![zeroed(); count as usize];
        call!(
            self,
            nvmlDeviceGetGpuInstancePossiblePlacements_v2(device, profile, all.as_mut_ptr(), &raw mut count)
        )?;
        all.truncate(count as usize);
        Ok(all)
    }

    /// What stands on a device in MIG mode, by whomever it was made, in the order of places.
    ///
    /// # Errors
    /// NVML refuses.
    pub fn instances(&self, uuid: &str) -> Result<Vec<Instance>, MigError> {
        let (device, mut found) = (self.device(uuid)?, Vec::new());
        for profile in self.profiles(uuid)? {
            let mut handles = room(profile.most as usize);
            let mut count = profile.most;
            call!(self, nvmlDeviceGetGpuInstances(device, profile.id, handles.as_mut_ptr(), &raw mut count))?;
            for handle in handles.into_iter().take(count as usize) {
                found.push(self.look(handle)?);
            }
        }
        self.name(device, &mut found)?;
        found.sort_by_key(|one| (one.start, one.id));
        Ok(found)
    }

    /// An instance without its devices.
    fn look(&self, handle: sys::nvmlGpuInstance_t) -> Result<Instance, MigError> {
        let mut info: sys::nvmlGpuInstanceInfo_t = zeroed();
        call!(self, nvmlGpuInstanceGetInfo(handle, &raw mut info))?;
        Ok(Instance {
            id: info.id,
            profile: info.profileId,
            start: info.placement.start,
            devices: Vec::new(),
        })
    }

    /// Finds the devices that instances are for programs.
    fn name(&self, device: sys::nvmlDevice_t, instances: &mut [Instance]) -> Result<(), MigError> {
        let mut most = 0;
        call!(self, nvmlDeviceGetMaxMigDeviceCount(device, &raw mut most))?;
        for index in 0..most {
            let mut one = null_mut();
            match call!(self, nvmlDeviceGetMigDeviceHandleByIndex(device, index, &raw mut one)) {
                Err(why) if why.is_not_found() => continue,
                done => done?,
            }
            let (mut instance, mut compute, mut text) = (0, 0, [0; UUID_ROOM]);
            call!(self, nvmlDeviceGetGpuInstanceId(one, &raw mut instance))?;
            call!(self, nvmlDeviceGetComputeInstanceId(one, &raw mut compute))?;
            call!(self, nvmlDeviceGetUUID(one, text.as_mut_ptr(), UUID_ROOM as u32))?;
            // SAFETY: NVML ends its texts within their room.
            let uuid = unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned();
            if let Some(found) = instances.iter_mut().find(|one| one.id == instance) {
                found.devices.push((compute, uuid));
            }
        }
        Ok(())
    }

    /// Makes an instance of a profile at a start, with one compute instance over the whole of it. When that cannot be made,
    /// nothing is left.
    ///
    /// # Errors
    /// NVML refuses: `NoRoom` when something stands there, `InvalidArg` when none may begin there.
    pub fn create(&self, uuid: &str, profile: &Profile, start: u32) -> Result<Instance, MigError> {
        let device = self.device(uuid)?;
        let (place, mut handle) = (sys::nvmlGpuInstancePlacement_t { start, size: profile.size }, null_mut());
        call!(
            self,
            nvmlDeviceCreateGpuInstanceWithPlacement(device, profile.id, &raw const place, &raw mut handle)
        )?;
        let made = self.fill(device, handle);
        if made.is_err() {
            // What was asked for failed already; what this says would hide why.
            drop(self.destroy_instance(handle));
        }
        made
    }

    fn fill(&self, device: sys::nvmlDevice_t, handle: sys::nvmlGpuInstance_t) -> Result<Instance, MigError> {
        let whole = self.compute_profiles(handle)?.into_iter().max_by_key(|(_, slices)| *slices);
        let refused = MigError::new("nvmlGpuInstanceGetComputeInstanceProfileInfo", NvmlError::NotSupported);
        let (profile, _) = whole.ok_or(refused)?;
        let mut compute = null_mut();
        call!(self, nvmlGpuInstanceCreateComputeInstance(handle, profile, &raw mut compute))?;
        let mut made = [self.look(handle)?];
        self.name(device, &mut made)?;
        let [made] = made;
        Ok(made)
    }

    /// Numbers and slices of the compute instances that an instance can have.
    fn compute_profiles(&self, handle: sys::nvmlGpuInstance_t) -> Result<Vec<(u32, u32)>, MigError> {
        let mut found = Vec::new();
        for sort in 0..SORTS {
            let mut info: sys::nvmlComputeInstanceProfileInfo_t = zeroed();
            let engines = sys::NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED;
            match call!(
                self,
                nvmlGpuInstanceGetComputeInstanceProfileInfo(handle, sort, engines, &raw mut info)
            ) {
                Err(why) if why.is_unknown() => {}
                done => {
                    done?;
                    found.push((info.id, info.sliceCount));
                }
            }
        }
        Ok(found)
    }

    /// Takes an instance away, with what is in it.
    ///
    /// # Errors
    /// NVML refuses: `NotFound` when there is none of this number, `InUse` while a program is on it.
    pub fn destroy(&self, uuid: &str, id: u32) -> Result<(), MigError> {
        let mut handle = null_mut();
        call!(self, nvmlDeviceGetGpuInstanceById(self.device(uuid)?, id, &raw mut handle))?;
        self.destroy_instance(handle)
    }

    fn destroy_instance(&self, handle: sys::nvmlGpuInstance_t) -> Result<(), MigError> {
        for (profile, _) in self.compute_profiles(handle)? {
            let (mut all, mut count) = (room(COMPUTE_ROOM), COMPUTE_ROOM as u32);
            call!(
                self,
                nvmlGpuInstanceGetComputeInstances(handle, profile, all.as_mut_ptr(), &raw mut count)
            )?;
            for compute in all.into_iter().take(count as usize) {
                call!(self, nvmlComputeInstanceDestroy(compute))?;
            }
        }
        call!(self, nvmlGpuInstanceDestroy(handle))
    }
}
