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


def devices_of(wanted: Wanted) -> Devices:
    """Return the devices to load models on: cards where there are any, else the processor.

    ConfigFault where cards were asked for and there are none: nothing falls back to the processor silently.
    """
    if wanted == "cpu":
        return Processor()
    cards = _cards()
    if cards is not None:
        return cards
    if wanted == "gpu":
        raise ConfigFault("models_device is gpu, and NVML finds no card: set it to cpu or auto, or install the driver")
    return Processor()


def _cards() -> Cards | None:
    """Return the cards, or None where NVML finds none."""
    nvml: Any = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
        handles = [
            part
            for index in range(nvml.nvmlDeviceGetCount())
            for part in _parts(nvml, nvml.nvmlDeviceGetHandleByIndex(index))
        ]
    except nvml.NVMLError:
        return None
    found = {
        Device(str(nvml.nvmlDeviceGetUUID(h)), "gpu", int(nvml.nvmlDeviceGetMemoryInfo(h).total)): h for h in handles
    }
    return Cards(nvml, found) if found else None


def _parts(nvml: Any, card: Any) -> list[Any]:  # noqa: ANN401 - NVML's binding has no types
    """Return a card's slices, or the card itself where it is not cut."""
    try:
        cut = nvml.nvmlDeviceGetMigMode(card)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    except nvml.NVMLError_NotSupported:
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
