//! The functions of OpenCL in the order of the table through which a loader calls a driver.
//!
//! Loaders and drivers agree on this order; entries are added at the end alone. A table of an older driver is shorter:
//! see [`entries`].

/// All of OpenCL 3.0, as in the Khronos header `cl_icd.h`.
pub const NAMES: [&str; 149] = [
    "clGetPlatformIDs",
    "clGetPlatformInfo",
    "clGetDeviceIDs",
    "clGetDeviceInfo",
    "clCreateContext",
    "clCreateContextFromType",
    "clRetainContext",
    "clReleaseContext",
    "clGetContextInfo",
    "clCreateCommandQueue",
    "clRetainCommandQueue",
    "clReleaseCommandQueue",
    "clGetCommandQueueInfo",
    "clSetCommandQueueProperty",
    "clCreateBuffer",
    "clCreateImage2D",
    "clCreateImage3D",
    "clRetainMemObject",
    "clReleaseMemObject",
    "clGetSupportedImageFormats",
    "clGetMemObjectInfo",
    "clGetImageInfo",
    "clCreateSampler",
    "clRetainSampler",
    "clReleaseSampler",
    "clGetSamplerInfo",
    "clCreateProgramWithSource",
    "clCreateProgramWithBinary",
    "clRetainProgram",
    "clReleaseProgram",
    "clBuildProgram",
    "clUnloadCompiler",
    "clGetProgramInfo",
    "clGetProgramBuildInfo",
    "clCreateKernel",
    "clCreateKernelsInProgram",
    "clRetainKernel",
    "clReleaseKernel",
    "clSetKernelArg",
    "clGetKernelInfo",
    "clGetKernelWorkGroupInfo",
    "clWaitForEvents",
    "clGetEventInfo",
    "clRetainEvent",
    "clReleaseEvent",
    "clGetEventProfilingInfo",
    "clFlush",
    "clFinish",
    "clEnqueueReadBuffer",
    "clEnqueueWriteBuffer",
    "clEnqueueCopyBuffer",
    "clEnqueueReadImage",
    "clEnqueueWriteImage",
    "clEnqueueCopyImage",
    "clEnqueueCopyImageToBuffer",
    "clEnqueueCopyBufferToImage",
    "clEnqueueMapBuffer",
    "clEnqueueMapImage",
    "clEnqueueUnmapMemObject",
    "clEnqueueNDRangeKernel",
    "clEnqueueTask",
    "clEnqueueNativeKernel",
    "clEnqueueMarker",
    "clEnqueueWaitForEvents",
    "clEnqueueBarrier",
    "clGetExtensionFunctionAddress",
    "clCreateFromGLBuffer",
    "clCreateFromGLTexture2D",
    "clCreateFromGLTexture3D",
    "clCreateFromGLRenderbuffer",
    "clGetGLObjectInfo",
    "clGetGLTextureInfo",
    "clEnqueueAcquireGLObjects",
    "clEnqueueReleaseGLObjects",
    "clGetGLContextInfoKHR",
    "clGetDeviceIDsFromD3D10KHR",
    "clCreateFromD3D10BufferKHR",
    "clCreateFromD3D10Texture2DKHR",
    "clCreateFromD3D10Texture3DKHR",
    "clEnqueueAcquireD3D10ObjectsKHR",
    "clEnqueueReleaseD3D10ObjectsKHR",
    "clSetEventCallback",
    "clCreateSubBuffer",
    "clSetMemObjectDestructorCallback",
    "clCreateUserEvent",
    "clSetUserEventStatus",
    "clEnqueueReadBufferRect",
    "clEnqueueWriteBufferRect",
    "clEnqueueCopyBufferRect",
    "clCreateSubDevicesEXT",
    "clRetainDeviceEXT",
    "clReleaseDeviceEXT",
    "clCreateEventFromGLsyncKHR",
    "clCreateSubDevices",
    "clRetainDevice",
    "clReleaseDevice",
    "clCreateImage",
    "clCreateProgramWithBuiltInKernels",
    "clCompileProgram",
    "clLinkProgram",
    "clUnloadPlatformCompiler",
    "clGetKernelArgInfo",
    "clEnqueueFillBuffer",
    "clEnqueueFillImage",
    "clEnqueueMigrateMemObjects",
    "clEnqueueMarkerWithWaitList",
    "clEnqueueBarrierWithWaitList",
    "clGetExtensionFunctionAddressForPlatform",
    "clCreateFromGLTexture",
    "clGetDeviceIDsFromD3D11KHR",
    "clCreateFromD3D11BufferKHR",
    "clCreateFromD3D11Texture2DKHR",
    "clCreateFromD3D11Texture3DKHR",
    "clCreateFromDX9MediaSurfaceKHR",
    "clEnqueueAcquireD3D11ObjectsKHR",
    "clEnqueueReleaseD3D11ObjectsKHR",
    "clGetDeviceIDsFromDX9MediaAdapterKHR",
    "clEnqueueAcquireDX9MediaSurfacesKHR",
    "clEnqueueReleaseDX9MediaSurfacesKHR",
    "clCreateFromEGLImageKHR",
    "clEnqueueAcquireEGLObjectsKHR",
    "clEnqueueReleaseEGLObjectsKHR",
    "clCreateEventFromEGLSyncKHR",
    "clCreateCommandQueueWithProperties",
    "clCreatePipe",
    "clGetPipeInfo",
    "clSVMAlloc",
    "clSVMFree",
    "clEnqueueSVMFree",
    "clEnqueueSVMMemcpy",
    "clEnqueueSVMMemFill",
    "clEnqueueSVMMap",
    "clEnqueueSVMUnmap",
    "clCreateSamplerWithProperties",
    "clSetKernelArgSVMPointer",
    "clSetKernelExecInfo",
    "clGetKernelSubGroupInfoKHR",
    "clCloneKernel",
    "clCreateProgramWithIL",
    "clEnqueueSVMMigrateMem",
    "clGetDeviceAndHostTimer",
    "clGetHostTimer",
    "clGetKernelSubGroupInfo",
    "clSetDefaultDeviceCommandQueue",
    "clSetProgramReleaseCallback",
    "clSetProgramSpecializationConstant",
    "clCreateBufferWithProperties",
    "clCreateImageWithProperties",
    "clSetContextDestructorCallback",
];

/// Where a function stands in the table. Evaluated while compiling: a name that is not there does not compile.
///
/// # Panics
/// There is no such function.
#[must_use]
pub const fn index(name: &str) -> usize {
    let mut at = 0;
    while at < NAMES.len() {
        if same(NAMES[at].as_bytes(), name.as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("no function of OpenCL has this name")
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// How many entries the table of a driver has that says it is of this version: `OpenCL 3.0 PoCL`. What does not
/// say is taken for the oldest.
#[must_use]
pub fn entries(version: &str) -> usize {
    let number = version.strip_prefix("OpenCL ").and_then(|rest| rest.split_once('.'));
    let number = number.map(|(major, rest)| (major.parse::<u32>(), rest.chars().next()));
    match number {
        Some((Ok(3..), _)) => NAMES.len(),
        Some((Ok(2), Some('2'))) => index("clSetProgramSpecializationConstant") + 1,
        Some((Ok(2), Some('1'))) => index("clSetDefaultDeviceCommandQueue") + 1,
        Some((Ok(2), _)) => index("clGetKernelSubGroupInfoKHR") + 1,
        Some((Ok(1), Some('2'))) => index("clEnqueueReleaseDX9MediaSurfacesKHR") + 1,
        Some((Ok(1), Some('1'))) => index("clEnqueueCopyBufferRect") + 1,
        _ => index("clEnqueueReleaseGLObjects") + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_header() {
        let Ok(header) = std::fs::read_to_string("/usr/include/CL/cl_icd.h") else {
            eprintln!("skipped: no OpenCL headers here");
            return;
        };
        let table = header.split("typedef struct _cl_icd_dispatch").nth(1).expect("the table");
        let body = table.split("} cl_icd_dispatch").next().expect("its end");
        // Entries end in `name;`; an older Direct3D or EGL entry that is left out on Linux stands as `void *name;`.
        let ends = body.lines().filter_map(|line| line.trim().strip_suffix(';'));
        let names =
            ends.filter_map(|line| line.rsplit([' ', '*']).next()).filter(|name| name.starts_with("cl"));
        let mut once: Vec<&str> = Vec::new();
        names.for_each(|name| {
            if !once.contains(&name) {
                once.push(name)
            }
        });
        assert_eq!(once, NAMES, "a name that the table lacks, or another order");
    }

    #[test]
    fn older_drivers_have_shorter_tables() {
        let versions = [
            "OpenCL 1.0 x",
            "OpenCL 1.1 x",
            "OpenCL 1.2 x",
            "OpenCL 2.0",
            "OpenCL 2.1",
            "OpenCL 2.2",
            "OpenCL 3.0",
        ];
        let lengths = versions.map(entries);
        assert!(lengths.is_sorted() && lengths[0] == 74 && lengths[6] == 149, "{lengths:?}");
        assert_eq!(entries("what"), lengths[0]);
    }
}
