"""What the memory of the model's devices has been through, by nvidia-ml-py."""

import pynvml as nvml

nvml.nvmlInit()
for at in range(nvml.nvmlDeviceGetCount()):
    card = nvml.nvmlDeviceGetHandleByIndex(at)
    errors = [
        nvml.nvmlDeviceGetTotalEccErrors(card, kind, nvml.NVML_AGGREGATE_ECC)
        for kind in (nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)
    ]
    try:
        rows = nvml.nvmlDeviceGetRemappedRows(card)
    except nvml.NVMLError as error:
        rows = error.value
    print(at, errors, rows)
