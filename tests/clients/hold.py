"""Holds so many MiB of the first GPU it sees, by the driver it is given, until the device fails: then ends with 3."""

import ctypes
import sys
import time

driver, mib = ctypes.CDLL(sys.argv[1]), int(sys.argv[2])


def ok(code):
    if code:
        print("the device fails:", code, flush=True)
        sys.exit(3)


context, at = ctypes.c_void_p(), ctypes.c_uint64()
ok(driver.cuInit(0))
ok(driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
ok(driver.cuCtxSetCurrent(context))
ok(driver.cuMemAlloc_v2(ctypes.byref(at), ctypes.c_size_t(mib << 20)))
print("holds", mib, flush=True)
while True:
    ok(driver.cuCtxSynchronize())
    time.sleep(0.05)
