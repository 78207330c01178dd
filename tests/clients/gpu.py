"""What a program sees of a GPU, by NVIDIA's two libraries alone: bytes by CUDA, bytes by NVML, MiB until it is refused."""

import ctypes

cuda, nvml = ctypes.CDLL("libcuda.so.1"), ctypes.CDLL("libnvidia-ml.so.1")


def ok(code):
    assert code == 0, code


total, context, memory, card = ctypes.c_size_t(), ctypes.c_void_p(), (ctypes.c_uint64 * 3)(), ctypes.c_void_p()
ok(cuda.cuInit(0))
ok(cuda.cuDeviceTotalMem_v2(ctypes.byref(total), 0))
ok(nvml.nvmlInit_v2())
ok(nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(card)))
ok(nvml.nvmlDeviceGetMemoryInfo(card, ctypes.byref(memory)))
ok(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
ok(cuda.cuCtxSetCurrent(context))
at, count = ctypes.c_uint64(), 0
while (code := cuda.cuMemAlloc_v2(ctypes.byref(at), ctypes.c_size_t(1 << 20))) == 0:
    count += 1
assert code == 2, code
print(total.value, memory[0], count)
