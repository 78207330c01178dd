"""MIG by nvidia-ml-py and CUDA's own bindings: each step is said, and the test goes on when it has looked."""

from ctypes import byref
import os
import subprocess
import sys

from cuda.bindings import driver as cuda
import pynvml as nvml


def code(call, *arguments):
    """The number of the error that a call ends with."""
    try:
        call(*arguments)
    except nvml.NVMLError as error:
        return error.value
    return 0


def whole(card):
    """What one may do to a device, from modes to the end of its instances."""
    print("mode", *nvml.nvmlDeviceGetMigMode(card))
    print("max", nvml.nvmlDeviceGetMaxMigDeviceCount(card))
    os.seteuid(65534)
    print("refused", code(nvml.nvmlDeviceSetMigMode, card, 1))
    os.seteuid(0)
    print("activation", nvml.nvmlDeviceSetMigMode(card, 1))
    print("mode", *nvml.nvmlDeviceGetMigMode(card))
    profiles = {}
    for sort in range(nvml.NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            one = nvml.nvmlDeviceGetGpuInstanceProfileInfo(card, sort, version=2)
        except nvml.NVMLError as error:
            assert error.value == nvml.NVML_ERROR_NOT_SUPPORTED, error
            continue
        name = one.name.decode() if isinstance(one.name, bytes) else one.name
        places = nvml.c_nvmlGpuInstancePlacement_t * 8
        count, room = nvml.c_uint(8), places()
        nvml.nvmlDeviceGetGpuInstancePossiblePlacements(card, one.id, room, byref(count))
        starts = ",".join(f"{room[at].start}+{room[at].size}" for at in range(count.value))
        print("profile", sort, one.id, name, one.memorySizeMB, one.multiprocessorCount, one.instanceCount, starts)
        profiles[name.removeprefix("MIG ")] = one.id
    return profiles


def made(card, profile, start, size):
    place = nvml.c_nvmlGpuInstancePlacement_t(start, size)
    return nvml.nvmlDeviceCreateGpuInstanceWithPlacement(card, profile, byref(place))


def main():
    nvml.nvmlInit()
    card = nvml.nvmlDeviceGetHandleByIndex(0)
    print("name", nvml.nvmlDeviceGetName(card))
    profiles = whole(card)
    single, half = profiles["1g.10gb"], profiles["3g.40gb"]
    print("wrong start", code(made, card, half, 2, 4))
    first = made(card, half, 4, 4)
    print("over it", code(made, card, single, 5, 1))
    print("left", *(nvml.nvmlDeviceGetGpuInstanceRemainingCapacity(card, one) for one in profiles.values()))
    second = made(card, single, 0, 1)
    os.seteuid(65534)
    print("refused", code(made, card, single, 1, 1), code(nvml.nvmlGpuInstanceDestroy, second))
    os.seteuid(0)
    info = nvml.nvmlGpuInstanceGetInfo(first)
    print("instance", info.profileId, info.placement.start, info.placement.size)
    print("no device yet", code(nvml.nvmlDeviceGetMigDeviceHandleByIndex, card, 0))
    for instance in (first, second):
        for sort in range(nvml.NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
            if code(nvml.nvmlGpuInstanceGetComputeInstanceProfileInfo, instance, sort, 0) == 0:
                compute = nvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(instance, sort, 0)
                nvml.nvmlGpuInstanceCreateComputeInstance(instance, compute.id)
    print("destroy", code(nvml.nvmlGpuInstanceDestroy, first), "mode", nvml.nvmlDeviceSetMigMode(card, 0))
    nvml.nvmlDeviceSetMigMode(card, 1)
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        try:
            device = nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, index)
        except nvml.NVMLError_NotFound:
            continue
        uuid = nvml.nvmlDeviceGetUUID(device)
        assert nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByUUID(uuid)) == uuid
        assert nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device)).startswith("GPU-")
        at = nvml.nvmlDeviceGetAttributes(device)
        memory = nvml.nvmlDeviceGetMemoryInfo(device).total >> 20
        print("device", nvml.nvmlDeviceGetName(device), memory, at.memorySizeMB, at.multiprocessorCount)
        run = [sys.executable, __file__, "cuda"]
        seen = subprocess.run(run, env=os.environ | {"CUDA_VISIBLE_DEVICES": uuid}, capture_output=True, text=True)
        print("cuda", (seen.stdout + seen.stderr).strip())
    busy = subprocess.Popen(
        [sys.executable, __file__, "hold"],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": uuid},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    busy.stdout.readline()
    compute = nvml.nvmlGpuInstanceGetComputeInstanceById(second, 0)
    running = nvml.nvmlDeviceGetComputeRunningProcesses(device)
    print("busy", code(nvml.nvmlComputeInstanceDestroy, compute), [one.pid == busy.pid for one in running])
    busy.kill()
    busy.wait()
    print("free", code(nvml.nvmlComputeInstanceDestroy, compute), code(nvml.nvmlGpuInstanceDestroy, second))
    print("gone", code(nvml.nvmlGpuInstanceGetInfo, second), code(nvml.nvmlDeviceGetName, device))


def ok(answer):
    assert answer[0] == cuda.CUresult.CUDA_SUCCESS, answer
    return answer[1] if len(answer) == 2 else answer[1:]


def seen():
    """What CUDA sees: devices, their memory and multiprocessors, and MiB that can be had."""
    ok(cuda.cuInit(0))
    what = cuda.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
    total, processors = ok(cuda.cuDeviceTotalMem(0)), ok(cuda.cuDeviceGetAttribute(what, 0))
    ok(cuda.cuCtxSetCurrent(ok(cuda.cuDevicePrimaryCtxRetain(0))))
    count = 0
    while (answer := cuda.cuMemAlloc(64 << 20))[0] == cuda.CUresult.CUDA_SUCCESS:
        count += 64
    print(ok(cuda.cuDeviceGetCount()), total >> 20, processors, count, int(answer[0]), flush=True)


if sys.argv[1:] == []:
    main()
else:
    seen()
    if sys.argv[1] == "hold":
        sys.stdin.readline()
