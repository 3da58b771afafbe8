"""The devices of a machine as NVML names them: cards, the slices of a card, and none."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from organs.organd.devices import Cards, Processor, devices_of
from shared.errors import ConfigFault

GB = 1_000_000_000


class Recorded:
    """NVML as it answers on a machine with these cards: a number of bytes, or those of the slices of one."""

    NVML_DEVICE_MIG_ENABLE = 1
    MOST = 7  #: slices of a card; places without one are not found

    def __init__(self, *cards: int | Sequence[int], broken: Exception | None = None) -> None:
        self.cards, self.broken = cards, broken

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - its errors are the real binding's
        return getattr(pynvml, name)

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's name
        if self.broken:
            raise self.broken

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - NVML's name
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> tuple[int, int]:  # noqa: N802 - NVML's name
        return index, -1

    def nvmlDeviceGetMigMode(self, card: tuple[int, int]) -> list[int]:  # noqa: N802 - NVML's name
        if isinstance(self.cards[card[0]], int):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, card: tuple[int, int]) -> int:  # noqa: N802 - NVML's name
        return self.MOST

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: tuple[int, int], index: int) -> tuple[int, int]:  # noqa: N802 - NVML's name
        slices = self.cards[card[0]]
        assert not isinstance(slices, int)
        place = index - 1  # the first place is empty, as after a slice was removed
        if not 0 <= place < len(slices):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return card[0], place

    def nvmlDeviceGetUUID(self, part: tuple[int, int]) -> str:  # noqa: N802 - NVML's name
        return f"GPU-{part[0]}" if part[1] < 0 else f"MIG-{part[0]}-{part[1]}"

    def nvmlDeviceGetMemoryInfo(self, part: tuple[int, int]) -> SimpleNamespace:  # noqa: N802 - NVML's name
        card = self.cards[part[0]]
        total = card if isinstance(card, int) else card[part[1]]
        return SimpleNamespace(total=total, free=total - GB)


def found(nvml: Recorded) -> list[tuple[str, str, int, int, bool]]:
    """The devices that are found: name, kind, gigabytes, models at once, leased."""
    devices = devices_of("gpu", nvml).all()
    return [(d.id, d.kind, d.total_bytes // GB, d.slots, d.leased) for d in devices]


@pytest.mark.spec("NIM-16")
def test_a_card_that_is_cut_is_its_slices() -> None:
    """Four of 24, two of 48 or one of 96 gigabytes: each is a device of its own with one model, under one lease."""
    for slices in ([24] * 4, [48] * 2, [96]):
        expected = [(f"MIG-0-{n}", "gpu", size, 1, True) for n, size in enumerate(slices)]
        assert expected == found(Recorded([size * GB for size in slices]))
    nvml = Recorded([24 * GB] * 4)
    devices = devices_of("auto", nvml)
    assert [23 * GB] * 4 == [devices.free_bytes(device) for device in devices.all()]


@pytest.mark.spec("NIM-16")
def test_a_host_without_slices_has_a_device_per_card() -> None:
    """Two cards of 20 gigabytes are two devices; a card in slices may stand beside one that is whole."""
    assert [("GPU-0", "gpu", 20, 1, True), ("GPU-1", "gpu", 20, 1, True)] == found(Recorded(20 * GB, 20 * GB))
    assert ["GPU-0", "MIG-1-0"] == [name for name, *_ in found(Recorded(20 * GB, [24 * GB]))]


@pytest.mark.spec("NIM-16")
def test_no_card_is_said_and_a_card_that_cannot_be_used_is_an_error() -> None:
    """Without library, driver or card it is the processor, if it may be; what is there and fails is never passed by."""
    absent = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    for nvml in (Recorded(), *(Recorded(broken=pynvml.NVMLError(code)) for code in absent)):
        assert isinstance(devices_of("auto", nvml), Processor)
        with pytest.raises(ConfigFault, match="NVML finds no card"):
            devices_of("gpu", nvml)
    with pytest.raises(ConfigFault, match=r"NVML does not start \(.*\): set the driver right"):
        devices_of("auto", Recorded(20 * GB, broken=pynvml.NVMLError(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)))
    with pytest.raises(ConfigFault, match="are cut, and have no slices"):
        devices_of("auto", Recorded([]))
    lost = Recorded(20 * GB)
    lost.nvmlDeviceGetUUID = _lost
    with pytest.raises(ConfigFault, match="cannot read this machine's cards"):
        devices_of("auto", lost)


@pytest.mark.spec("NIM-16")
def test_what_is_recorded_is_asked_by_its_real_names() -> None:
    """The binding on this machine has every call and every error that is used here, and says what it finds."""
    calls = [name for name in vars(Recorded) if name.startswith("nvml")]
    assert [] == [name for name in calls if not callable(getattr(pynvml, name, None))]
    try:
        pynvml.nvmlInit()
        cards = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError:
        cards = 0
    assert (Cards if cards else Processor) is type(devices_of("auto"))


def _lost(part: tuple[int, int]) -> str:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
