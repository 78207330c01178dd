"""What a program in a part of a GPU sees: its name, devices, MiB and multiprocessors by CUDA, MiB until it is refused; then it
holds all of it for so many seconds, or until it is ended."""

import ctypes
import os
import sys
import time

cuda = ctypes.CDLL("libcuda.so.1")


def ok(code):
    assert code == 0, code


count, total, processors, context = ctypes.c_int(), ctypes.c_size_t(), ctypes.c_int(), ctypes.c_void_p()
ok(cuda.cuInit(0))
ok(cuda.cuDeviceGetCount(ctypes.byref(count)))
ok(cuda.cuDeviceTotalMem_v2(ctypes.byref(total), 0))
ok(cuda.cuDeviceGetAttribute(ctypes.byref(processors), 16, 0))
ok(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
ok(cuda.cuCtxSetCurrent(context))
at, held = ctypes.c_uint64(), 0
while (code := cuda.cuMemAlloc_v2(ctypes.byref(at), ctypes.c_size_t(64 << 20))) == 0:
    held += 64
assert code == 2, code
assert os.environ["CUDA_VISIBLE_DEVICES"] == os.environ["NVIDIA_VISIBLE_DEVICES"]
print(os.environ["CUDA_VISIBLE_DEVICES"], count.value, total.value >> 20, processors.value, held, flush=True)
time.sleep(float(sys.argv[1]))
