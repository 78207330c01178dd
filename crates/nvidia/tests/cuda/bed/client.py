"""The client in Python: over cuda-bindings and nvidia-ml-py, which know nothing of shares."""

import os
import sys
import time

from cuda.bindings import driver as cuda
import pynvml

PIECE = 8 << 20
TOO_MUCH = 1 << 40


def say(word):
    print(f"client:{word}", flush=True)


def wait():
    sys.stdin.readline()


def ok(answer):
    """The values of an answer, or an end with the code."""
    assert answer[0] == cuda.CUresult.CUDA_SUCCESS, answer
    return answer[1] if len(answer) == 2 else answer[1:]


def tried(answer):
    """What an answer is, in the words of the client in Rust."""
    return f"Err({int(answer[0])})" if answer[0] != cuda.CUresult.CUDA_SUCCESS else "Ok"


def prop(kind):
    how = cuda.CUmemAllocationProp()
    how.type = cuda.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
    how.location.type = kind
    return how


DEVICE = cuda.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE


def flat(size):
    how = cuda.CUDA_ARRAY_DESCRIPTOR()
    how.Width, how.Height, how.NumChannels = 1024, size // 4096, 1
    how.Format = cuda.CUarray_format.CU_AD_FORMAT_FLOAT
    return cuda.cuArrayCreate(how)


def free_ordered(at):
    ok(cuda.cuMemFreeAsync(at, 0))
    ok(cuda.cuStreamSynchronize(0))


def free_physical(handle):
    at = ok(cuda.cuMemAddressReserve(PIECE, 0, 0, 0))
    ok(cuda.cuMemMap(at, PIECE, 0, handle, 0))
    ok(cuda.cuMemRelease(handle))
    again = ok(cuda.cuMemRetainAllocationHandle(int(at)))
    ok(cuda.cuMemUnmap(at, PIECE))
    ok(cuda.cuMemRelease(again))
    ok(cuda.cuMemAddressFree(at, PIECE))


WAYS = {
    "plain": (cuda.cuMemAlloc, lambda at: ok(cuda.cuMemFree(at))),
    "managed": (lambda size: cuda.cuMemAllocManaged(size, 1), lambda at: ok(cuda.cuMemFree(at))),
    "pitched": (lambda size: cuda.cuMemAllocPitch(4096, size // 4096, 4), lambda at: ok(cuda.cuMemFree(at[0]))),
    "physical": (lambda size: cuda.cuMemCreate(size, prop(DEVICE), 0), free_physical),
    "array": (flat, lambda array: ok(cuda.cuArrayDestroy(array))),
    "ordered": (lambda size: cuda.cuMemAllocAsync(size, 0), free_ordered),
}


def fill(piece):
    held = []
    while True:
        answer = cuda.cuMemAlloc(piece)
        if answer[0] != cuda.CUresult.CUDA_SUCCESS:
            break
        held.append(answer[1])
    say(f"{len(held) * piece} {int(answer[0])}")
    wait()
    ok(cuda.cuMemFree(held.pop()))
    first, second = cuda.cuMemAlloc(piece), cuda.cuMemAlloc(piece)
    say(f"{'true' if tried(first) == 'Ok' else 'false'} {tried(second)}")
    wait()


def rows():
    for name, (make, free) in WAYS.items():
        one = ok(make(PIECE))
        say(name)
        wait()
        free(one)
        say(tried(make(TOO_MUCH)))
        wait()
    host = cuda.CUmemLocationType.CU_MEM_LOCATION_TYPE_HOST_NUMA
    ok(cuda.cuMemCreate(TOO_MUCH, prop(host), 0))
    say("end")


def sizes():
    free, total = ok(cuda.cuMemGetInfo())
    everything = ok(cuda.cuDeviceTotalMem(0))
    pynvml.nvmlInit()
    card = pynvml.nvmlDeviceGetHandleByIndex(0)
    memory = pynvml.nvmlDeviceGetMemoryInfo(card)
    newer = pynvml.nvmlDeviceGetMemoryInfo(card, version=pynvml.nvmlMemory_v2)
    assert (newer.total, newer.free) == (memory.total, memory.free), (newer, memory)
    say(f"{free} {total} {everything} {memory.total} {memory.used}")
    processes = pynvml.nvmlDeviceGetComputeRunningProcesses(card)
    say(" ".join(f"{'true' if one.pid == os.getpid() else 'false'}:{one.usedGpuMemory}" for one in processes))


def pool(piece):
    own = ok(cuda.cuDeviceGetDefaultMemPool(0))
    what = cuda.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
    ok(cuda.cuMemPoolSetAttribute(own, what, cuda.cuuint64_t((1 << 64) - 1)))
    held = []
    while True:
        answer = cuda.cuMemAllocAsync(piece, 0)
        if answer[0] != cuda.CUresult.CUDA_SUCCESS:
            break
        held.append(answer[1])
    say(f"{len(held) * piece} {int(answer[0])}")
    wait()
    for at in held:
        free_ordered(at)
    say("kept")
    wait()
    say("true" if tried(cuda.cuMemAlloc(piece * 2)) == "Ok" else "false")
    wait()


def function(name):
    module = ok(cuda.cuModuleLoadData(b"image"))
    return ok(cuda.cuModuleGetFunction(module, name.encode()))


def launch(kernel, stream=0):
    ok(cuda.cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, stream, 0, 0))


def graph():
    kernel, stream = function("spin_200us"), ok(cuda.cuStreamCreate(1))
    ok(cuda.cuStreamBeginCapture(stream, cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL))
    ok(cuda.cuMemAllocAsync(PIECE, stream))
    launch(kernel, stream)
    captured = ok(cuda.cuStreamEndCapture(stream))
    say("captured")
    wait()
    executable = ok(cuda.cuGraphInstantiate(captured, 0))
    say("executable")
    wait()
    for _ in range(5):
        ok(cuda.cuGraphLaunch(executable, stream))
    ok(cuda.cuStreamSynchronize(stream))
    say("ran")
    wait()
    ok(cuda.cuGraphExecDestroy(executable))
    say("kept")
    wait()
    ok(cuda.cuDeviceGraphMemTrim(0))
    say("trimmed")
    wait()


def launches():
    kernel = function("spin_500us")
    captured = ok(cuda.cuGraphCreate(0))
    how = cuda.CUDA_KERNEL_NODE_PARAMS()
    how.func = kernel
    ok(cuda.cuGraphAddKernelNode(captured, None, 0, how))
    executable = ok(cuda.cuGraphInstantiate(captured, 0))
    config = cuda.CUlaunchConfig()
    config.gridDimX, config.gridDimY, config.gridDimZ = 2, 1, 1
    config.blockDimX, config.blockDimY, config.blockDimZ = 1, 1, 1
    for _ in range(4):
        launch(kernel)
        ok(cuda.cuLaunchKernelEx(config, kernel, 0, 0))
        ok(cuda.cuLaunchCooperativeKernel(kernel, 3, 1, 1, 1, 1, 1, 0, 0, 0))
        ok(cuda.cuGraphLaunch(executable, 0))
        # The other flavour is chosen for a whole process here: by hand the stream of the thread.
        ok(cuda.cuGraphLaunch(executable, cuda.CUstream(2)))
        ok(cuda.cuLaunchCooperativeKernel(kernel, 5, 1, 1, 1, 1, 1, 0, cuda.CUstream(2), 0))
    ok(cuda.cuCtxSynchronize())
    say("launched")


def spin(span_ms, us):
    kernel = function(f"spin_{us}us")
    launch(kernel)
    ok(cuda.cuCtxSynchronize())
    say("ready")
    wait()
    begin, count = time.monotonic(), 0
    events = [ok(cuda.cuEventCreate(2)) for _ in range(3)]
    under_way = []
    while time.monotonic() - begin < span_ms / 1000 or under_way:
        if len(under_way) < 3 and time.monotonic() - begin < span_ms / 1000:
            launch(kernel)
            count += 1
            event = events.pop()
            ok(cuda.cuEventRecord(event, 0))
            under_way.append(event)
            continue
        one = under_way.pop(0)
        ok(cuda.cuEventSynchronize(one))
        events.append(one)
    elapsed = time.monotonic() - begin
    say(f"{int(count * us / 10 / elapsed)} {count}")


def main():
    name, *numbers = os.environ["POND_CLIENT_ROLE"].split()
    if name == "start":
        say(int(cuda.cuInit(0)[0]))
        return
    ok(cuda.cuInit(0))
    device = ok(cuda.cuDeviceGet(0))
    ok(cuda.cuCtxSetCurrent(ok(cuda.cuDevicePrimaryCtxRetain(device))))
    globals()[name](*map(int, numbers))
    ok(cuda.cuDevicePrimaryCtxRelease(device))


main()
