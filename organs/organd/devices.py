"""The devices of this machine: its cards and their slices, as NVML names them, else its processor.

A card that is cut into MIG slices is its slices; a card that is not is one device. One model at a time per device;
the processor's memory holds a few at once, as with Ollama.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal

import psutil

from organs.organd.ports import Device, Devices
from shared.constant import constant
from shared.errors import ConfigFault

CPU_SLOTS = constant(3, "models", "NIM-16")
_WAY_OUT = "set the driver right, or models_device to cpu"
Wanted = Literal["auto", "cpu", "gpu"]


class Processor:
    """This machine's processor and memory."""

    def __init__(self, slots: int = CPU_SLOTS, *, leased: bool = False) -> None:
        self.device = Device("cpu", "cpu", psutil.virtual_memory().total, slots, leased)

    def all(self) -> tuple[Device, ...]:
        return (self.device,)

    def free_bytes(self, device: Device) -> int:
        return psutil.virtual_memory().available

    def gone(self, pid: int) -> bool:
        return not psutil.pid_exists(pid)


class Cards:
    """The cards that NVML sees; made only where there are some."""

    def __init__(self, nvml: Any, handles: dict[Device, Any]) -> None:  # noqa: ANN401 - NVML's binding has no types
        self._nvml, self._handles = nvml, handles

    def all(self) -> tuple[Device, ...]:
        return tuple(self._handles)

    def free_bytes(self, device: Device) -> int:
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handles[device]).free)

    def gone(self, pid: int) -> bool:
        return not psutil.pid_exists(pid)


def devices_of(wanted: Wanted, nvml: Any = None) -> Devices:  # noqa: ANN401 - NVML's binding has no types
    """Return the devices to load models on: cards where there are any, else the processor.

    ConfigFault where cards were asked for and there are none, and where there are some that cannot be used: nothing
    falls back to the processor silently.
    """
    if wanted == "cpu":
        return Processor()
    cards = _cards(nvml or importlib.import_module("pynvml"))
    if cards is not None:
        return cards
    if wanted == "gpu":
        raise ConfigFault("models_device is gpu, and NVML finds no card: set it to cpu or auto, or install the driver")
    return Processor()


def _cards(nvml: Any) -> Cards | None:  # noqa: ANN401 - NVML's binding has no types
    """Return the cards, or None where there is no driver or no card. ConfigFault where there are some, and in vain."""
    try:
        nvml.nvmlInit()
    except (nvml.NVMLError_LibraryNotFound, nvml.NVMLError_DriverNotLoaded):
        return None
    except nvml.NVMLError as error:
        raise ConfigFault(f"NVML does not start ({error}): {_WAY_OUT}") from None
    try:
        cards = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        parts = [part for card in cards for part in _parts(nvml, card)]
        found = {Device(str(nvml.nvmlDeviceGetUUID(part)), "gpu", _total(nvml, part)): part for part in parts}
    except nvml.NVMLError as error:
        raise ConfigFault(f"NVML cannot read this machine's cards ({error}): {_WAY_OUT}") from None
    if cards and not found:
        raise ConfigFault(f"the cards that NVML finds are cut, and have no slices: make some, or {_WAY_OUT}")
    return Cards(nvml, found) if found else None


def _total(nvml: Any, part: Any) -> int:  # noqa: ANN401 - NVML's binding has no types
    return int(nvml.nvmlDeviceGetMemoryInfo(part).total)


def _parts(nvml: Any, card: Any) -> list[Any]:  # noqa: ANN401 - NVML's binding has no types
    """Return a card's slices, or the card itself where it is not cut."""
    try:
        cut = nvml.nvmlDeviceGetMigMode(card)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
        cut = False
    if not cut:
        return [card]
    slices = list[Any]()
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        try:
            slices.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, index))
        except nvml.NVMLError_NotFound:
            continue
    return slices
