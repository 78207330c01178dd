"""How the model's devices are joined, by nvidia-ml-py."""

import pynvml as nvml

nvml.nvmlInit()
cards = [nvml.nvmlDeviceGetHandleByIndex(at) for at in range(nvml.nvmlDeviceGetCount())]
for a, one in enumerate(cards):
    for b, other in enumerate(cards[a + 1 :], a + 1):
        way = nvml.nvmlDeviceGetTopologyCommonAncestor(one, other)
        linked = nvml.nvmlDeviceGetP2PStatus(one, other, nvml.NVML_P2P_CAPS_INDEX_NVLINK)
        print(a, b, way, linked == nvml.NVML_P2P_STATUS_OK)
for at, card in enumerate(cards):
    ends = []
    for link in range(nvml.NVML_NVLINK_MAX_LINKS):
        if nvml.nvmlDeviceGetNvLinkState(card, link):
            ends.append(nvml.nvmlDeviceGetNvLinkRemotePciInfo(card, link).busId)
            kind = nvml.nvmlDeviceGetNvLinkRemoteDeviceType(card, link)
            assert (kind == nvml.NVML_NVLINK_DEVICE_TYPE_SWITCH) == ends[-1].endswith(":4F:00.0"), kind
    print(at, *ends)
